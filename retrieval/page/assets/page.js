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
  // One stop for all tabs, as in every tab list: arrows go from one to the next.
  const list = document.querySelector("#tabs [role=tablist]");
  const tabs = () => [...list.querySelectorAll("[role=tab]")];
  const rove = () => tabs().forEach((tab) => (tab.tabIndex = tab.ariaSelected === "true" ? 0 : -1));
  if (list) {
    new MutationObserver(rove).observe(list, { subtree: true, childList: true, attributeFilter: ["aria-selected"] });
    rove();
    list.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const all = tabs();
      const next = step && all[(all.indexOf(event.target) + step + all.length) % all.length];
      if (!next) return;
      event.preventDefault();
      next.click();
      next.focus();
    });
  }
  if (innerWidth <= 720) {
    const fold = document.querySelector("#filters > button.label-wrap.open");
    if (fold) fold.click();
  }
  // For whoever drives the page: from here on it listens.
  document.documentElement.classList.add("vr-ready");
  document.dispatchEvent(new Event("vr-ready"));
}
