// A place on the map: a click, a drag from the middle to the rim, or keys; it goes out in the drawing's units.
const MOVE = 10;
const GROW = 1.25;
let from = null;
let wait = null;
let isOpen = false;
let place = null;
const ground = () => element.querySelector(".vr-ground");
const circle = () => element.querySelector(".vr-circle");
const drawn = () => {
  if (!circle() || circle().hasAttribute("hidden")) return null;
  return ["cx", "cy", "r"].map((name) => parseFloat(circle().getAttribute(name)));
};
const draw = (values) => {
  circle().removeAttribute("hidden");
  ["cx", "cy", "r"].forEach((name, at) => circle().setAttribute(name, values[at]));
};
const choose = ([x, y, radius]) => trigger("edit", { x, y, radius });
const pointed = (event) => {
  const drawing = ground().querySelector("svg");
  const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing.getScreenCTM().inverse());
  return [x, y];
};
const spread = (event) => {
  const [x, y] = pointed(event);
  const way = Math.hypot(x - from[0], y - from[1]);
  // A click without a way leaves the circle as large as it is.
  return [...from, way > MOVE ? way : drawn()?.[2] || parseFloat(ground().dataset.radius)];
};
element.addEventListener("pointerdown", (event) => {
  if (!ground()?.contains(event.target) || event.target.closest(".vr-pick") || event.button !== 0) return;
  ground().setPointerCapture(event.pointerId);
  from = pointed(event);
});
element.addEventListener("pointermove", (event) => {
  if (from) draw(spread(event));
});
element.addEventListener("pointercancel", () => (from = null));
element.addEventListener("pointerup", (event) => {
  if (!from) return;
  const values = spread(event);
  from = null;
  draw(values);
  choose(values);
});
const change = (act) => {
  const { width, height } = ground().querySelector("svg").viewBox.baseVal;
  const values = drawn() || [width / 2, height / 2, parseFloat(ground().dataset.radius)];
  act(values, width, height);
  draw(values);
  clearTimeout(wait);
  wait = setTimeout(() => choose(values), 400);
};
const resize = (isLarger) => change((values) => (values[2] = Math.max(values[2] * (isLarger ? GROW : 1 / GROW), 2)));
element.addEventListener("click", (event) => {
  const size = event.target.closest(".vr-larger, .vr-smaller");
  if (size) resize(size.matches(".vr-larger"));
});
element.addEventListener("keydown", (event) => {
  if (!ground() || event.target !== ground()) return;
  if (event.key === "Escape" && drawn()) {
    clearTimeout(wait);
    trigger("clear", {});
    return;
  }
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!way) return;
  event.preventDefault();
  if (event.shiftKey) resize(event.key === "ArrowRight" || event.key === "ArrowUp");
  else
    change((values, width, height) => {
      values[0] = Math.min(Math.max(values[0] + MOVE * way[0], 0), width);
      values[1] = Math.min(Math.max(values[1] + MOVE * way[1], 0), height);
    });
});
// Drawing the map anew neither folds it nor takes the focus away.
const named = (each) => each.dataset.camera || each.classList[1] || each.classList[0];
element.addEventListener("toggle", (event) => (isOpen = event.target.open), true);
element.addEventListener("focusin", (event) => (place = named(event.target)));
element.addEventListener("focusout", (event) => {
  if (event.relatedTarget) place = null;
});
watch("value", () => {
  const map = element.querySelector(".vr-place-map");
  if (!map) return;
  map.open = isOpen;
  if (!place || (document.activeElement && document.activeElement !== document.body)) return;
  const all = [...map.querySelectorAll("[tabindex], button, summary")];
  (all.find((each) => named(each) === place) || ground()).focus({ preventScroll: true });
});
