// What the pages share: the CSRF token, words for screen readers, fresh parts of a page, and asking before a deletion.

import { request, SessionEnded } from "./http.js";
import { stateText } from "./states.js";
import { showTimes } from "./times.js";

const TOKEN = 'meta[name="csrf-token"]';

/** Return the token that a request which changes something must carry. */
export function csrfToken() {
  return document.querySelector(TOKEN).content;
}

/** Take the token of a session that began after this page was loaded. */
export async function renewToken() {
  document.querySelector(TOKEN).content = (await fetchPage(location.href)).querySelector(TOKEN).content;
}

/** Say something to screen readers, when they are done with what they read. */
export function announce(text) {
  const place = document.querySelector("[data-announce]");
  if (place.textContent !== text) place.textContent = text;
}

/** Show a Problem in the page's place for it, or take it away; an ended session gets a link to the login. */
export function showProblem(problem) {
  const place = document.querySelector("[data-problem]");
  const [words, link] = place.children;
  const text = problem?.message ?? "";
  if (words.textContent !== text) words.textContent = text;
  link.hidden = !(problem instanceof SessionEnded);
  place.hidden = !problem;
}

/** Show a song's state in the parts of an element that are there for it. */
export function showState(element, item) {
  const part = (name) => element.querySelector(`[data-part="${name}"]`);
  part("badge").dataset.status = part("badge").textContent = item.status;
  part("text").textContent = stateText(item);
  part("progress").hidden = item.status !== "processing";
  part("progress").value = (item.progress ?? 0) / 100;
}

/** Copy a text, or, where pages aren't given the clipboard, what `select` selects; tell whether that was done. */
export async function copyText(text, select) {
  // Browsers give it to pages of localhost and over TLS only.
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Refused; the old way may still be allowed.
    }
  }
  select();
  return document.execCommand("copy");
}

/** Fetch a page of this site as a document. */
export async function fetchPage(url) {
  const response = await request(url, { headers: { Accept: "text/html" } });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  // It is parsed as without scripts: what is for such browsers alone would be real elements, and load what they play.
  for (const part of page.querySelectorAll("noscript")) part.remove();
  showTimes(page);
  return page;
}

/** Clone the element in one of the page's templates. */
export function clone(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

/** Ask before any form with `data-confirm`, the question, is sent; forms that come later included. */
export function confirmForms() {
  const dialog = clone("confirm");
  document.body.append(dialog);
  let asked = null;
  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.confirm;
    if (!question || event.target === asked) return;
    event.preventDefault();
    asked = event.target;
    dialog.querySelector("p").textContent = question;
    dialog.returnValue = "";
    dialog.showModal();
  });
  dialog.addEventListener("close", () => {
    // What was asked about may have been replaced meanwhile by its newer state.
    if (asked && !asked.isConnected) asked = [...document.forms].find((form) => form.action === asked.action) ?? null;
    if (dialog.returnValue === "yes") asked?.requestSubmit();
    asked = null;
  });
}
