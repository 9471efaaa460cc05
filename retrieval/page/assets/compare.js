// The comparison is a modal dialog: the browser keeps the focus in it and closes it with Escape.
let open = false;
watch("value", () => {
  const dialog = element.querySelector("dialog");
  if (!dialog) return;
  // The regions come later; whoever has closed the dialog meanwhile does not want it back.
  if (dialog.dataset.step === "2" && !open) return;
  open = true;
  dialog.showModal();
  dialog.addEventListener("close", () => {
    open = false;
    document.querySelector(`.vr-card[data-key="${CSS.escape(dialog.dataset.key)}"]`)?.focus();
  });
  dialog.addEventListener("click", (event) => {
    const isOutside = event.target === dialog;
    const ends = event.target.closest(".vr-close, [data-event=like], [data-event=submit]");
    if (event.target.closest(".vr-zoom, .vr-pair-picture")) {
      const isLarge = dialog.classList.toggle("vr-zoomed");
      dialog.querySelector(".vr-zoom").setAttribute("aria-pressed", isLarge);
    }
    if (isOutside || ends) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    const name = { ArrowLeft: "previous", ArrowRight: "next", y: "yes", n: "no", s: "similar" }[event.key];
    dialog.querySelector(`.vr-${name}`)?.click();
  });
});
