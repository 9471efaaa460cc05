// What a person says of a link goes to the REST interface, which knows whose key it is and may refuse;
// then the way is drawn anew.
const say = (text) => {
  const said = element.querySelector(".vr-said");
  if (said) said.textContent = text;
};
const mark = async (detail) => {
  const body = new FormData();
  for (const name of ["earlier", "later", "verdict"]) body.append(name, detail[name]);
  const answer = await fetch("api/links", { method: "PUT", body }).catch(() => null);
  if (answer?.ok) {
    trigger("edit", { key: detail.earlier, cut: detail.verdict === "cut" ? detail.later : "" });
    return;
  }
  const told = answer && (await answer.json().catch(() => null))?.detail;
  say(typeof told === "string" ? told : element.querySelector(".vr-journey").dataset.failed);
};
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-event=link]");
  if (!button) return;
  event.stopImmediatePropagation();
  mark(JSON.parse(button.dataset.detail));
}, true);
