// The upload form: drag and drop, and how far the upload has come. Without it the form is an ordinary one.
"use strict";

(() => {
  const form = document.getElementById("upload-form");
  if (!form) return;
  const files = document.getElementById("files");
  const drop = document.getElementById("drop");
  const chosen = document.getElementById("chosen");
  const sending = document.getElementById("sending");
  const progress = document.getElementById("sending-progress");
  const text = document.getElementById("sending-text");
  const button = document.getElementById("upload-button");
  const outcome = document.getElementById("upload-outcome");
  let request = null;

  function sizeOf(bytes) {
    for (const unit of ["B", "kB", "MB"]) {
      if (bytes < 1000) return `${unit === "B" ? bytes : bytes.toFixed(1)} ${unit}`;
      bytes /= 1000;
    }
    return `${bytes.toFixed(1)} GB`;
  }

  function showChosen() {
    const list = [...files.files];
    const size = list.reduce((sum, file) => sum + file.size, 0);
    const names = list.length === 1 ? list[0].name : `${list.length} files`;
    chosen.textContent = list.length ? `${names}, ${sizeOf(size)}` : "";
  }

  function say(message) {
    const line = document.createElement("p");
    line.className = "message message-bad";
    line.setAttribute("role", "alert");
    line.textContent = message;
    outcome.replaceChildren(line);
    outcome.scrollIntoView({ block: "nearest" });
  }

  function busy(is) {
    sending.hidden = !is;
    button.disabled = is;
  }

  function finish() {
    busy(false);
    const answer = request;
    request = null;
    if (answer.status === 200 && new URL(answer.responseURL).pathname !== "/checks") {
      window.location.assign(answer.responseURL);
      return;
    }
    const page = new DOMParser().parseFromString(answer.responseText, "text/html");
    const said = page.getElementById("upload-outcome");
    if (said && said.children.length) outcome.replaceChildren(...said.children);
    else say(page.querySelector("main p")?.textContent || `The upload was refused (status ${answer.status}).`);
    outcome.scrollIntoView({ block: "nearest" });
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (request || !files.files.length) return;
    outcome.replaceChildren();
    request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.upload.addEventListener("progress", (moment) => {
      if (!moment.lengthComputable) return;
      progress.value = moment.loaded / moment.total;
      text.textContent = moment.loaded < moment.total
        ? `Uploading: ${sizeOf(moment.loaded)} of ${sizeOf(moment.total)}`
        : "The files are looked at";
    });
    request.addEventListener("load", finish);
    request.addEventListener("error", () => {
      request = null;
      busy(false);
      say("The upload broke off. It may be too large, or the console didn't answer.");
    });
    request.addEventListener("abort", () => {
      request = null;
      busy(false);
      say("You stopped the upload. Nothing of it was kept.");
    });
    progress.value = 0;
    busy(true);
    document.getElementById("sending-stop").focus();
    request.send(new FormData(form));
  });
  document.getElementById("sending-stop").addEventListener("click", () => request?.abort());

  files.addEventListener("change", showChosen);
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    if (!event.dataTransfer.files.length) return;
    files.files = event.dataTransfer.files;
    showChosen();
  });
})();
