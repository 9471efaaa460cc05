// Keys that work everywhere, and filters folded away where there is little room.
() => {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.key === "/") {
      event.preventDefault();
      document.querySelector("#words textarea, #words input")?.focus();
    } else if (event.key === "?") {
      const keys = document.querySelector(".vr-keys");
      if (keys) keys.open = !keys.open;
    } else if (event.key.startsWith("Arrow") && event.target === document.body) {
      const first = document.querySelector(".vr-card");
      if (first && event.key === "ArrowRight") first.focus();
    }
  });
  if (innerWidth <= 720) {
    const fold = document.querySelector("#filters > button.label-wrap.open");
    if (fold) fold.click();
  }
  // For whoever drives the page: from here on it listens.
  document.documentElement.classList.add("vr-ready");
  document.dispatchEvent(new Event("vr-ready"));
}
