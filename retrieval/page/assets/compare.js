// The comparison is a modal dialog: the browser keeps the focus in it and closes it with Escape.
let open = false;
// While it is open, it stays as large, and its scenes as unfolded, from one result to the next.
let isLarge = false;
let hasScenes = false;
const dialog = () => element.querySelector("dialog");
const size = () => {
  dialog().classList.toggle("vr-zoomed", isLarge);
  dialog().querySelector(".vr-zoom").setAttribute("aria-pressed", isLarge);
};
// A scene that is not there says so in its place; a key that has just compared may have to wait for one.
const missing = async (image) => {
  const { src } = image;
  const answer = await fetch(src).catch(() => null);
  if (image.src !== src) return;
  if (answer?.ok || answer?.status === 429)
    setTimeout(() => image.src === src && (image.src = src), 1000 * answer.headers.get("Retry-After"));
  else image.closest("figure").classList.add("vr-lost");
};
watch("value", () => {
  if (!dialog()) return;
  // The regions come later; whoever has closed the dialog meanwhile does not want it back.
  if (dialog().dataset.step === "2" && !open) return;
  if (!open) isLarge = hasScenes = false;
  open = true;
  size();
  const scenes = dialog().querySelector(".vr-scenes");
  if (scenes) scenes.open = hasScenes;
  for (const image of element.querySelectorAll(".vr-scenes img")) {
    image.closest("figure").classList.remove("vr-lost");
    if (image.complete && image.src && image.naturalWidth === 0) missing(image);
  }
  if (!dialog().open) dialog().showModal();
});
// The next content may come into the same dialog: it is listened to from outside, once.
element.addEventListener("close", () => {
  open = false;
  document.querySelector(`.vr-card[data-key="${CSS.escape(dialog().dataset.key)}"]`)?.focus();
}, true);
element.addEventListener("click", (event) => {
  if (event.target.closest(".vr-zoom, .vr-pair-picture")) {
    isLarge = !isLarge;
    size();
  }
  const isOutside = event.target === dialog();
  if (isOutside || event.target.closest(".vr-close, [data-event=like], [data-event=submit]")) dialog().close();
});
element.addEventListener("toggle", (event) => {
  if (event.target.matches(".vr-scenes")) hasScenes = event.target.open;
}, true);
element.addEventListener("error", (event) => event.target.closest(".vr-scenes") && missing(event.target), true);
element.addEventListener("keydown", (event) => {
  const name = { ArrowLeft: "previous", ArrowRight: "next", y: "yes", n: "no", s: "similar" }[event.key];
  dialog()?.querySelector(`.vr-${name}`)?.click();
});
