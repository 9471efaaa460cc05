// Cards by keyboard: arrows move, letters act; the focus survives that the cards are drawn anew.
const LETTERS = { y: "yes", n: "no", c: "compare", s: "similar", Enter: "compare" };
const cards = () => [...element.querySelectorAll(".vr-card")];
let last = null;
element.addEventListener("focusin", (event) => {
  const card = event.target.closest(".vr-card");
  last = card ? { key: card.dataset.key, place: cards().indexOf(card) } : null;
});
element.addEventListener("focusout", (event) => {
  // Drawing anew takes the focus away without giving it to anything.
  if (event.relatedTarget && !element.contains(event.relatedTarget)) last = null;
});
element.addEventListener("keydown", (event) => {
  const card = event.target.closest(".vr-card");
  if (!card || event.ctrlKey || event.metaKey || event.altKey) return;
  const name = LETTERS[event.key] || LETTERS[event.key.toLowerCase()];
  if (name && !(event.key === "Enter" && event.target !== card)) {
    event.preventDefault();
    card.querySelector(`.vr-${name}`)?.click();
    return;
  }
  const all = cards();
  const columns = all.filter((each) => each.offsetTop === all[0].offsetTop).length;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
  const next = step && all[all.indexOf(card) + step];
  if (next) {
    event.preventDefault();
    next.focus();
  }
});
watch("value", () => {
  if (!last || (document.activeElement && document.activeElement !== document.body)) return;
  const all = cards();
  const again = all.find((card) => card.dataset.key === last.key) || all[Math.min(last.place, all.length - 1)];
  again?.focus({ preventScroll: true });
});
