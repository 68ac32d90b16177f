// The library: songs that are under way show how far they are; one that is done gets its new card from the server.

import { announce, confirmForms, fetchPage, showProblem, showState } from "./page.js";
import { isActive, spokenText, Watcher } from "./states.js";

const list = document.querySelector("[data-songs]");
const replacing = new Set(); // ids of songs whose new cards are on their way

/** Return the card of a song. */
function cardOf(id, page = document) {
  return page.querySelector(`[data-song="${CSS.escape(id)}"]`);
}

/** Show a song's state in its card; replace the whole card when the song is done. */
async function show(item) {
  const card = cardOf(item.id);
  if (!card || !isActive(card.dataset)) return;
  if (isActive(item)) {
    card.dataset.status = item.status;
    showState(card, item);
  } else if (!replacing.has(item.id)) {
    replacing.add(item.id);
    await replace(card, item).finally(() => replacing.delete(item.id));
  }
}

async function replace(card, item) {
  const fresh = cardOf(item.id, await fetchPage(location.href));
  const focused = card.contains(document.activeElement);
  card.replaceWith(...(fresh ? [fresh] : []));
  if (focused) fresh?.querySelector("a").focus();
  announce(`${item.name}: ${spokenText(item)}`);
}

confirmForms();
if (list) {
  const watcher = new Watcher(list.dataset.states, {
    show: (items) => items.forEach((item) => show(item).catch(showProblem)),
    tell: showProblem,
    // A card whose replacement could not be fetched is tried again with the next answer.
    goesOn: (items) => items.some((item) => isActive(item) || isActive(cardOf(item.id)?.dataset ?? {})),
  });
  if (list.querySelector("[data-song][data-status=queued], [data-song][data-status=processing]")) watcher.start();
}
