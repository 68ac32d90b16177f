// The account's keys: made and deactivated through keys.php. Without this script the same forms post to the site.

import { askJson } from "./http.js";
import { copyText, csrfToken } from "./page.js";

const form = document.getElementById("new-key");
const dialog = document.getElementById("shown-key");
const shown = document.getElementById("shown-key-value");
const copied = document.getElementById("copied");
const failure = document.getElementById("failure");

/** Call keys.php in place of what a form would do; meanwhile its button waits, and a failure is told in words. */
function replaceBy(each, call) {
  each.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = each.querySelector("button:not([type])");
    button.disabled = true;
    failure.textContent = "";
    try {
      await call();
    } catch (problem) {
      failure.textContent = problem.message;
    }
    button.disabled = false;
  });
}

/** Call keys.php; return the answer's `data`. */
function callKeys(method, query, body) {
  return askJson(form.dataset.keys + query, { method, body, headers: { "X-CSRFToken": csrfToken() } });
}

/** Load the page anew, but never by sending the form again that made a key. */
function reload() {
  window.location.replace(form.dataset.page);
}

replaceBy(form, async () => {
  const { api_key: key } = await callKeys("POST", "", new URLSearchParams({ name: form.elements.name.value }));
  shown.value = key;
  dialog.showModal();
  shown.select();
});

for (const each of document.querySelectorAll("form[data-deactivates]")) {
  replaceBy(each, async () => {
    await callKeys("DELETE", `?id=${each.dataset.deactivates}`);
    reload();
  });
}

dialog.addEventListener("close", reload);

const copy = document.getElementById("copy");
copy.hidden = false;
copy.addEventListener("click", async () => {
  shown.select();
  const done = await copyText(shown.value, () => shown.select());
  copied.textContent = done ? "Copied." : "Press Ctrl+C, or ⌘C, to copy it.";
});
