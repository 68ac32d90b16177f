// One file on the upload page, from its choice to its stems, as its row shows it.

import { clone } from "./page.js";
import { sizeText } from "./checks.js";
import { isActive, spokenText, stateText } from "./states.js";

const ACTIONS = ["remove", "cancel", "retry", "open"];

export class FileRow {
  /** `file` is null for a song that was sent before this page was opened. */
  constructor(name, file = null) {
    this.name = name;
    this.file = file;
    this.element = clone("file-row");
    this.state = null; // as the server last told it
    this.#part("name").textContent = name;
    this.#part("size").textContent = file ? sizeText(file.size) : "";
    for (const part of ACTIONS.map((action) => this.#part(action))) {
      part.setAttribute("aria-label", `${part.textContent}: ${name}`);
    }
  }

  #part(name) {
    return this.element.querySelector(`[data-part="${name}"]`);
  }

  /** `brief` stands in the row's line, `why` below it. */
  #show(brief, { status = "waiting", why = "", fraction = null, actions = [] }) {
    const badge = this.#part("badge");
    badge.dataset.status = status;
    badge.textContent = brief;
    this.#part("text").textContent = why;
    const progress = this.#part("progress");
    progress.hidden = fraction === null;
    if (fraction !== null) progress.value = fraction;
    const focused = document.activeElement;
    for (const action of ACTIONS) this.#part(action).hidden = !actions.includes(action);
    // Focus isn't lost with the button that was pressed.
    if (focused?.hidden && this.element.contains(focused)) this.element.focus();
  }

  /** Show that the file waits for the button, or for its turn. */
  showChosen(text) {
    this.#show(text, { actions: ["remove"] });
  }

  /** Show why the file isn't sent, or wasn't taken. */
  showRefused(why, { again }) {
    this.#show("not sent", { status: "failed", why, actions: again ? ["retry", "remove"] : ["remove"] });
  }

  /** Show that it isn't sent because nobody wants it to be any more. */
  showCancelled() {
    this.#show("cancelled", { actions: ["retry", "remove"] });
  }

  /** Show how much of the file has been sent. */
  showSending(fraction) {
    const text = fraction < 1 ? `Sending: ${Math.floor(fraction * 100)} %` : "Sent; the server is checking it";
    this.#show(text, { status: "processing", fraction, actions: ["cancel"] });
  }

  /** Show where the song stands on the server; return what is worth saying aloud of it, or null. */
  showState(item) {
    const news = this.state && spokenText(item) !== spokenText(this.state) ? spokenText(item) : null;
    this.state = item;
    this.#part("open").href = item.url;
    const fraction = item.status === "processing" ? (item.progress ?? 0) / 100 : null;
    const [brief, why] = item.status === "failed" ? ["failed", stateText(item)] : [stateText(item), ""];
    this.#show(brief, { status: item.status, why, fraction, actions: ["open"] });
    return news;
  }

  /** Show, of a song that was under way, that the server no longer lists it. */
  showGone() {
    if (!isActive(this.state)) return;
    const why = "It was deleted, or is in the library by now.";
    this.#show("no longer under way", { why, actions: ["remove"] });
  }
}
