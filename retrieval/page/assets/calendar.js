// Beside the fields of times that are dates, a button that opens the browser's own calendar.
const words = () => element.querySelector("[data-calendar]")?.dataset.calendar;
const ICON = `<svg viewBox="0 0 20 20" width="18" height="18" fill="none" stroke="currentColor" aria-hidden="true">
  <rect x="2.5" y="4" width="15" height="13.5" rx="2"/><path d="M2.5 8h15M6.5 2v4M13.5 2v4"/></svg>`;
const offer = (block) => {
  const field = block.querySelector("input, textarea");
  const button = Object.assign(document.createElement("button"), { type: "button", innerHTML: ICON });
  const picker = Object.assign(document.createElement("input"), { type: "datetime-local", step: 1, tabIndex: -1 });
  button.className = "vr-calendar";
  picker.className = "vr-picker";
  picker.setAttribute("aria-hidden", "true");
  button.addEventListener("click", () => {
    picker.value = field.value.trim().replace(" ", "T") || field.placeholder.replace(" ", "T");
    picker.showPicker();
  });
  picker.addEventListener("change", () => {
    field.value = picker.value.replace("T", " ");
    // As if it had been typed, and left.
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.dispatchEvent(new Event("blur"));
  });
  block.append(button, picker);
};
const tell = () => {
  for (const block of document.querySelectorAll("#after, #before")) {
    if (!words()) continue;
    if (!block.querySelector(".vr-calendar")) offer(block);
    const label = `${block.querySelector("[data-testid=block-info]").textContent.trim()}: ${words()}`;
    Object.assign(block.querySelector(".vr-calendar"), { title: label, ariaLabel: label });
  }
};
watch("value", () => setTimeout(tell, 300));
document.addEventListener("vr-ready", tell);
