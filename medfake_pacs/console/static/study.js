// The page of one study: a thumbnail shows its image in the viewer at once, if that has it.
"use strict";

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-show]");
  const root = document.querySelector("[data-viewer]");
  if (!link || !root || !root.viewer || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const place = root.viewer.frames.findIndex((each) => each.base === link.dataset.show && String(each.frame) === link.dataset.frame);
  if (place < 0) return;
  event.preventDefault();
  for (const other of document.querySelectorAll("a[data-show][aria-current]")) other.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
  root.viewer.show(place);
  root.scrollIntoView({ block: "start" });
  root.querySelector("[data-stage]").focus({ preventScroll: true });
});
