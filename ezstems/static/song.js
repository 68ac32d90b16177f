// The page of one song: how far it is, then, in the same place, the mixer or why it failed.

import { persist } from "./http.js";
import { openMixer } from "./mixer/open.js";
import { announce, confirmForms, fetchPage, showProblem, showState } from "./page.js";
import { isActive, spokenText, Watcher } from "./states.js";
import { giveNotices, offerNotices } from "./tab.js";
import { keepTimes } from "./times.js";

const title = document.title;
const find = () => document.querySelector("[data-song-page]");

/** Open the mixer if it's there; otherwise follow the song until it is. */
function begin() {
  const mixer = document.querySelector("[data-mixer]");
  if (mixer) openMixer(mixer);
  else if (isActive(find().dataset)) {
    offerNotices();
    follow(find().dataset.songPage);
  }
}

function follow(id) {
  let spoken = null;
  const own = (items) => items.find((item) => item.id === id);
  new Watcher(find().dataset.states, {
    tell: showProblem,
    goesOn: (items) => isActive(own(items) ?? {}),
    show: (items) => {
      giveNotices(items);
      const item = own(items);
      if (!item || !isActive(item)) {
        persist(replace).catch(showProblem);
        return;
      }
      showState(find(), item);
      document.title = `${item.status === "processing" ? `${item.progress ?? 0} %` : "Waiting"} · ${title}`;
      if (spoken !== null && spoken !== spokenText(item)) announce(spokenText(item));
      spoken = spokenText(item);
    },
  }).start();
}

/** Put what the server has now in the place of what it had. */
async function replace() {
  const hadFocus = find().contains(document.activeElement);
  const fresh = (await fetchPage(location.href)).querySelector("[data-song-page]");
  find().replaceWith(fresh);
  document.title = title;
  if (hadFocus) fresh.querySelector("h1").focus();
  announce(fresh.dataset.status === "failed" ? "The separation failed." : "The song is separated.");
  begin();
}

confirmForms();
keepTimes();
begin();
