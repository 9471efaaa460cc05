// A box drawn in the query image, by pointer or by keyboard; it goes out as shares of width and height.
const STEP = 0.02;
let start = null;
let timer = null;
let focused = false;
const frame = () => element.querySelector(".vr-frame:not(.vr-fixed)");
const shown = () => {
  const box = element.querySelector(".vr-box");
  if (!box || box.hidden) return null;
  const part = (name) => parseFloat(box.style[name]) / 100;
  return [part("left"), part("top"), part("left") + part("width"), part("top") + part("height")];
};
const show = ([left, top, right, bottom]) => {
  const box = element.querySelector(".vr-box");
  box.hidden = false;
  const sides = { left, top, width: right - left, height: bottom - top };
  for (const [name, share] of Object.entries(sides)) box.style[name] = `${share * 100}%`;
};
const send = (box) => (box ? trigger("select", { box }) : trigger("edit", {}));
const point = (event) => {
  const area = frame().getBoundingClientRect();
  const share = (value, from, length) => Math.min(Math.max((value - from) / length, 0), 1);
  return [share(event.clientX, area.left, area.width), share(event.clientY, area.top, area.height)];
};
element.addEventListener("pointerdown", (event) => {
  if (!frame() || !frame().contains(event.target) || event.button !== 0) return;
  frame().setPointerCapture(event.pointerId);
  start = point(event);
});
const spanned = (event) => {
  const [x, y] = point(event);
  return [Math.min(start[0], x), Math.min(start[1], y), Math.max(start[0], x), Math.max(start[1], y)];
};
element.addEventListener("pointermove", (event) => {
  if (start) show(spanned(event));
});
element.addEventListener("pointercancel", () => (start = null));
element.addEventListener("pointerup", (event) => {
  if (!start) return;
  const box = spanned(event);
  start = null;
  if (box[2] - box[0] > STEP && box[3] - box[1] > STEP) {
    send(box);
    return;
  }
  // A click without a way is no box; it chooses the smallest of the vehicles found there.
  const area = ({ width, height }) => width * height;
  const [found] = [...element.querySelectorAll(".vr-target")]
    .map((vehicle) => ({ vehicle, at: vehicle.getBoundingClientRect() }))
    .filter(({ at }) => at.left <= event.clientX && event.clientX <= at.right)
    .filter(({ at }) => at.top <= event.clientY && event.clientY <= at.bottom)
    .sort((one, other) => area(one.at) - area(other.at));
  if (found) found.vehicle.click();
  else element.querySelector(".vr-box").hidden = true;
});
element.addEventListener("keydown", (event) => {
  if (!frame() || event.target !== frame()) return;
  if (event.key === "Escape" && shown()) {
    element.querySelector(".vr-box").hidden = true;
    send(null);
    return;
  }
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!way) return;
  event.preventDefault();
  const box = shown() || [0.25, 0.25, 0.75, 0.75];
  for (const axis of [0, 1]) {
    const move = way[axis] * STEP;
    if (event.shiftKey) box[axis + 2] = Math.min(Math.max(box[axis + 2] + move, box[axis] + 2 * STEP), 1);
    else if (box[axis] + move >= 0 && box[axis + 2] + move <= 1) {
      box[axis] += move;
      box[axis + 2] += move;
    }
  }
  show(box);
  focused = true;
  clearTimeout(timer);
  timer = setTimeout(() => send(box), 400);
});
// A large scene takes the page's whole width; it stays so for the next one.
let isLarge = false;
const tellSize = () => element.querySelector(".vr-large")?.setAttribute("aria-pressed", isLarge);
element.addEventListener("click", (event) => {
  if (!event.target.closest(".vr-large")) return;
  isLarge = !isLarge;
  tellSize();
});
// Further pictures of the vehicle are chosen by a button of Gradio's, which nobody sees.
element.addEventListener("click", (event) => {
  if (event.target.closest(".vr-add")) document.querySelector("#further")?.click();
});
watch("value", () => {
  tellSize();
  if (focused) frame()?.focus({ preventScroll: true });
  focused = false;
});

// A picture that is pasted or dropped anywhere replaces the one that is there.
const replace = async (file) => {
  const field = () => document.querySelector("#query input[type=file]");
  if (!field()) trigger("clear", {});
  for (let wait = 0; !field() && wait < 100; wait++) await new Promise((done) => setTimeout(done, 30));
  if (!field()) return;
  const files = new DataTransfer();
  files.items.add(file);
  field().files = files.files;
  field().dispatchEvent(new Event("change", { bubbles: true }));
};
const picture = (items) => [...(items?.files || [])].find((file) => file.type.startsWith("image/"));
document.addEventListener(
  "paste",
  (event) => {
    const file = picture(event.clipboardData);
    if (!file) return;
    event.preventDefault();
    event.stopPropagation();
    replace(file);
  },
  true,
);
element.addEventListener("dragover", (event) => event.preventDefault());
element.addEventListener("drop", (event) => {
  event.preventDefault();
  const file = picture(event.dataTransfer);
  if (file) replace(file);
});
