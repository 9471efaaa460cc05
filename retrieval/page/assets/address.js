// The address bar says what is searched: Back, Forward, reload and a shared link bring it back.
let awaited = null;
const restore = () => {
  awaited = location.search;
  trigger("submit", { address: location.search });
};
watch("value", () => {
  const link = element.querySelector("a");
  if (!link) return;
  const { search, href } = new URL(link.href);
  // While one address is brought back, the answer to an earlier one is none of the address bar's business.
  if (awaited !== null && search !== awaited) return;
  awaited = null;
  if (search === location.search) return;
  history.pushState({ step: (history.state?.step || 0) + 1 }, "", href);
});
addEventListener("popstate", restore);
for (const kind of ["pointerdown", "keydown", "paste", "drop"])
  document.addEventListener(kind, () => (awaited = null), true);
document.addEventListener("vr-ready", () => {
  if (location.search.length > 1) restore();
});
document.addEventListener("click", (event) => {
  // A page that was just opened has nothing to take back.
  if (event.target.closest(".vr-undo") && history.state?.step) history.back();
});
