// The upload page: files are chosen or dropped, checked, sent one after the other, then followed to their stems.

import { buttonText, whyNot } from "./checks.js";
import { FileRow } from "./filerow.js";
import { Refused, SessionEnded } from "./http.js";
import { announce, csrfToken, renewToken, showProblem } from "./page.js";
import { send } from "./sending.js";
import { Watcher } from "./states.js";
import { offerNotices, showInTab } from "./tab.js";

const form = document.querySelector("form[data-upload]");
const picker = form.querySelector('input[type="file"]');
const dropzone = form.querySelector("[data-dropzone]");
const button = form.querySelector("[data-send]");
const list = document.querySelector("[data-files]");
const limits = { maxBytes: Number(form.dataset.maxBytes), extensions: form.dataset.extensions.split(" ") };

const chosen = new Set(); // rows that wait for the button
const queue = []; // rows that wait for their turn, each with its form's fields
const sent = new Map(); // rows by song id
const listed = new Set(); // ids that the server has told of
let sending = null; // the AbortController of the file that is being sent

const watcher = new Watcher(form.dataset.states, { show: showStates, tell: showProblem });

/** Give a file its row. */
function add(file, isFolder = false) {
  const row = place(new FileRow(file.name, file));
  const reason = isFolder ? "It is a folder; choose the files in it." : whyNot(file, limits);
  if (reason) row.showRefused(reason, { again: false });
  else {
    chosen.add(row);
    row.showChosen("Ready to send");
  }
  announce(`${file.name}: ${reason ?? "ready to send"}`);
  validate();
}

/** Put a row on the page and listen to its buttons. */
function place(row) {
  const on = (action, act) => row.element.querySelector(`[data-part="${action}"]`).addEventListener("click", act);
  on("remove", () => {
    chosen.delete(row);
    validate();
    const turn = queue.findIndex((waiting) => waiting.row === row);
    if (turn >= 0) queue.splice(turn, 1);
    row.element.remove();
    picker.focus();
  });
  on("cancel", () => sending?.abort());
  on("retry", () => enqueue([row], true));
  list.prepend(row.element); // the newest first, as in the library
  return row;
}

/** Let the button say how many files it sends, and the browser itself, on its press, that none is chosen. */
function validate() {
  picker.setCustomValidity(chosen.size ? "" : "Choose or drop a file first.");
  button.textContent = buttonText(chosen.size);
}

/** Line rows up with the options as they are now. */
function enqueue(rows, again = false) {
  const fields = new FormData(form);
  fields.delete(picker.name);
  for (const row of rows) {
    row.showChosen("Waits for its turn");
    queue.push({ row, fields, again });
  }
  work();
}

/** Send what is lined up, one file after the other. */
async function work() {
  if (sending) return;
  while (queue.length) {
    const { row, fields, again } = queue.shift();
    sending = new AbortController();
    try {
      row.showSending(0);
      // The page's own token may be of a session that is over.
      if (again) await renewToken();
      await sendOne(row, fields);
    } catch (problem) {
      refused(row, problem);
    }
    sending = null;
  }
}

async function sendOne(row, fields) {
  sending.signal.throwIfAborted();
  const body = new FormData();
  for (const [name, value] of fields) body.append(name, name === "csrf_token" ? csrfToken() : value);
  body.append(picker.name, row.file);
  const data = await send(form.action, body, {
    token: csrfToken(),
    onProgress: (fraction) => row.showSending(fraction),
    signal: sending.signal,
  });
  // The server's list may have been quicker than this answer.
  sent.get(data.id)?.element.remove();
  sent.set(data.id, row);
  row.showState({ status: "queued", queue_position: 0, url: data.url });
  announce(`${row.name}: sent`);
  watcher.start();
}

function refused(row, problem) {
  const isCancelled = problem.name === "AbortError";
  const text = problem.message;
  if (isCancelled) row.showCancelled();
  else row.showRefused(text, { again: !(problem instanceof Refused) });
  announce(`${row.name}: ${isCancelled ? "cancelled" : text}`);
  if (problem instanceof SessionEnded) {
    showProblem(problem);
    for (const { row: waiting } of queue.splice(0)) waiting.showRefused(text, { again: true });
  }
}

/** Show the server's states, also of songs that another page, or this one before, has sent. */
function showStates(items) {
  showInTab(items);
  // The newest of them comes first, and is to be placed last.
  for (const item of [...items].reverse()) {
    if (!sent.has(item.id)) sent.set(item.id, place(new FileRow(item.name)));
    const row = sent.get(item.id);
    const news = row.showState(item);
    if (news) announce(`${row.name}: ${news}`);
    listed.add(item.id);
  }
  for (const [id, row] of sent) {
    // A list that was asked for before the upload's end doesn't hold the song yet.
    if (!listed.has(id) || items.some((item) => item.id === id)) continue;
    row.showGone();
    sent.delete(id);
  }
}

picker.multiple = true; // without this script the form sends one file
picker.required = false;
picker.addEventListener("change", () => {
  for (const file of picker.files) add(file);
  picker.value = "";
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  enqueue([...chosen]);
  chosen.clear();
  validate();
});

dropzone.addEventListener("dragover", () => (dropzone.dataset.over = ""));
dropzone.addEventListener("dragleave", (event) => {
  if (!dropzone.contains(event.relatedTarget)) delete dropzone.dataset.over;
});
dropzone.addEventListener("drop", (event) => {
  delete dropzone.dataset.over;
  for (const item of event.dataTransfer.items) {
    if (item.kind === "file") add(item.getAsFile(), item.webkitGetAsEntry?.()?.isDirectory);
  }
});
// A file that misses the zone must not replace the page.
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());

window.addEventListener("beforeunload", (event) => {
  if (sending) event.preventDefault();
});

validate();
offerNotices();
watcher.start();
