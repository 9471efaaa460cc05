// The fields of a case go out when somebody saves it; the button says whether as a new one.
element.addEventListener("submit", (event) => {
  event.preventDefault();
  const { name, notes, alarms } = Object.fromEntries(new FormData(event.target));
  trigger("apply", { name, notes, alarms, how: event.submitter?.value || "save" });
});
