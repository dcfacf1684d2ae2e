// The worklist refreshes itself (htmx asks every 5 seconds): say what is new, and leave the reader in peace.
"use strict";

(() => {
  const rows = document.getElementById("rows");
  const line = document.querySelector("[data-live]");
  if (!rows || !line || !rows.hasAttribute("hx-get")) return;
  const news = document.getElementById("live-news");
  const state = document.getElementById("live-state");
  const pause = document.getElementById("live-pause");
  let paused = false;
  let last = "";
  line.hidden = false;

  const known = () => new Set(Array.from(rows.querySelectorAll("[data-study]"), (row) => row.dataset.study));
  let seen = known();

  // Someone who marks text in the list is reading it.
  const isReading = () => {
    const selection = document.getSelection();
    return selection !== null && !selection.isCollapsed && rows.contains(selection.anchorNode);
  };

  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Go on" : "Pause";
    state.textContent = paused ? "The list stands still." : "New studies appear by themselves.";
    state.classList.toggle("live", !paused);
  });

  rows.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target === rows && (paused || document.hidden || isReading())) event.preventDefault();
  });

  // Nothing new: the page stays untouched, and with it focus, selection and place.
  rows.addEventListener("htmx:beforeSwap", (event) => {
    const text = event.detail.xhr.responseText;
    if (event.target !== rows || event.detail.xhr.status !== 200) return;
    if (text === last) event.detail.shouldSwap = false;
    last = text;
  });

  rows.addEventListener("htmx:afterSwap", () => {
    const now = known();
    const count = Array.from(now).filter((uid) => !seen.has(uid)).length;
    seen = now;
    if (count) news.textContent = count === 1 ? "One new study." : `${count} new studies.`;
  });
})();
