// What every page gets beyond htmx: nothing here is needed, each thing only helps.
// No inline script anywhere: the Content-Security-Policy forbids it.
"use strict";

// A form with data-confirm, or one sent by a .danger button, is asked about first.
document.addEventListener("submit", (event) => {
  const form = event.target;
  const button = event.submitter;
  const dialog = document.getElementById("confirm");
  if (form.method === "dialog" || !dialog?.showModal) return;
  if (form.dataset.confirmed) {
    delete form.dataset.confirmed;
    return;
  }
  const danger = button?.classList.contains("danger");
  const question = button?.dataset.confirm ?? form.dataset.confirm ?? (danger ? `${button.textContent.trim()}?` : "");
  if (!question) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  document.getElementById("confirm-text").textContent = question;
  const yes = document.getElementById("confirm-yes");
  yes.textContent = button?.textContent.trim() || "Yes";
  dialog.returnValue = "";
  dialog.addEventListener("close", () => {
    if (dialog.returnValue !== "yes") return;
    form.dataset.confirmed = "yes";
    form.requestSubmit(button);
  }, { once: true });
  dialog.showModal();
}, true);

// A page that nobody sees doesn't poll.
document.addEventListener("htmx:beforeRequest", (event) => {
  const polls = /\bevery\b/.test(event.detail.elt.getAttribute("hx-trigger") ?? "");
  if (polls && document.hidden && !event.detail.requestConfig.triggeringEvent?.isTrusted) event.preventDefault();
});

// What went wrong with a part of the page is said at its top; htmx alone would say nothing.
function notice(text) {
  const place = document.getElementById("notices");
  if (!place) return;
  const line = document.createElement("p");
  line.className = "message message-bad";
  line.textContent = text;
  place.replaceChildren(line);
}
document.addEventListener("htmx:responseError", (event) => {
  const body = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html").body;
  notice(body.textContent.trim() || "The console couldn't do that.");
});
document.addEventListener("htmx:sendError", () => notice("The console doesn't answer. It is tried again."));
document.addEventListener("htmx:afterOnLoad", (event) => {
  if (event.detail.successful) document.getElementById("notices")?.replaceChildren();
});

// Times are written in UTC; under the mouse they are also said in the reader's own time zone.
document.addEventListener("mouseover", (event) => {
  const time = event.target.closest?.("time[datetime]");
  if (!time || time.title) return;
  const moment = new Date(time.dateTime);
  if (!Number.isNaN(moment.getTime())) time.title = `${moment.toLocaleString()} here`;
});

// Digests get a button that copies them, where the browser lets a page do so.
function addCopyButtons() {
  for (const code of document.querySelectorAll("[data-copy]")) {
    code.removeAttribute("data-copy");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent.trim());
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    code.after(button);
  }
}
if (navigator.clipboard) {
  addCopyButtons();
  document.addEventListener("htmx:afterSettle", addCopyButtons);
}
