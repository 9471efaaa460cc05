// Buttons of the page's own HTML: `data-event` names the event to raise, `data-detail` is what it carries.
const act = (target) => {
  const button = target.closest("[data-event]");
  if (button && element.contains(button)) trigger(button.dataset.event, JSON.parse(button.dataset.detail || "{}"));
  return button;
};
element.addEventListener("click", (event) => act(event.target));
element.addEventListener("keydown", (event) => {
  // What is no <button> but plays one, in a drawing.
  const played = event.target.closest("[role=button]");
  if (played && (event.key === "Enter" || event.key === " ")) {
    event.preventDefault();
    played.dispatchEvent(new MouseEvent("click", { bubbles: true }));
  }
});
