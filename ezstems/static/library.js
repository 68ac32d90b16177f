// The library: songs that are under way show how far they are; one that is done gets its new row from the server.

import { listenToMenus } from "./menus.js";
import { announce, confirmForms, fetchPage, showProblem, showState } from "./page.js";
import { isActive, spokenText, Watcher } from "./states.js";
import { offerNotices, showInTab } from "./tab.js";
import { keepTimes } from "./times.js";

const list = document.querySelector("[data-songs]");
const replacing = new Set(); // ids of songs whose new rows are on their way

/** Return the row of a song. */
function rowOf(id, page = document) {
  return page.querySelector(`[data-song="${CSS.escape(id)}"]`);
}

/** Show a song's state in its row; replace the whole row when the song is done. */
async function show(item) {
  const row = rowOf(item.id);
  if (!row || !isActive(row.dataset)) return;
  if (isActive(item)) {
    row.dataset.status = item.status;
    showState(row, item);
  } else if (!replacing.has(item.id)) {
    replacing.add(item.id);
    await replace(row, item).finally(() => replacing.delete(item.id));
  }
}

async function replace(row, item) {
  const fresh = rowOf(item.id, await fetchPage(location.href));
  const focused = row.contains(document.activeElement);
  row.replaceWith(...(fresh ? [fresh] : []));
  if (focused) fresh?.querySelector("a").focus();
  announce(`${item.name}: ${spokenText(item)}`);
}

confirmForms();
listenToMenus();
keepTimes();
offerNotices();
if (list) {
  const watcher = new Watcher(list.dataset.states, {
    show: (items) => {
      showInTab(items);
      items.forEach((item) => show(item).catch(showProblem));
    },
    tell: showProblem,
    // A row whose replacement could not be fetched is tried again with the next answer.
    goesOn: (items) => items.some((item) => isActive(item) || isActive(rowOf(item.id)?.dataset ?? {})),
  });
  if (list.querySelector("[data-song][data-status=queued], [data-song][data-status=processing]")) watcher.start();
}
