// What is seen of the songs from outside the page: the tab's title, and a notice when one is done, for who wants it.

import { Choice } from "./choice.js";
import { isActive, stateText } from "./states.js";

const notices = new Choice("notices", false);
const active = new Set(); // ids of songs that were under way in the last answer
let title = null; // the page's own

/** Put how far the songs are before a page's title. */
export function titleOf(items, own) {
  const running = items.find(({ status }) => status === "processing");
  const waiting = items.filter(({ status }) => status === "queued").length;
  const parts = running ? [`${running.progress ?? 0} %`] : [];
  if (waiting) parts.push(`${waiting} waiting`);
  return [...parts, own].join(" · ");
}

/** Take in the songs' states: show them in the title, and give notice of those that have ended. */
export function showInTab(items) {
  title ??= document.title;
  document.title = titleOf(items, title);
  giveNotices(items);
}

/** Give notice of the songs that have ended since the last time, to who wants it. */
export function giveNotices(items) {
  for (const item of items) {
    if (isActive(item)) active.add(item.id);
    else if (active.delete(item.id) && isOn()) tell(item);
  }
}

function isOn() {
  return notices.isOn && globalThis.Notification?.permission === "granted";
}

function tell(item) {
  try {
    // Another tab's notice of the same song takes this one's place.
    const notice = new Notification(item.name, { body: stateText(item), tag: item.id });
    notice.addEventListener("click", () => {
      window.focus();
      window.location.assign(item.url);
    });
  } catch {
    // Some phones show notices of service workers alone.
  }
}

/** Offer notices where the browser may show any; it is asked only when somebody presses the button. */
export function offerNotices() {
  const button = document.querySelector("[data-notices]");
  if (!window.isSecureContext || !("Notification" in window) || Notification.permission === "denied") return;
  const show = () => button.setAttribute("aria-pressed", String(isOn()));
  show();
  button.hidden = false;
  button.addEventListener("click", async () => {
    const wanted = !isOn();
    if (wanted && (await Notification.requestPermission()) === "denied") button.hidden = true;
    notices.isOn = wanted;
    show();
  });
}
