// The documentation: one language's program at a time, and a button that copies beside every block of code.

import { copyText } from "./page.js";

const said = document.getElementById("copied");

/** Give a block of code a button that copies it and says so. */
function addCopyButton(block) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy: ${block.dataset.copy}`);
  button.addEventListener("click", async () => {
    const done = await copyText(block.textContent, () => getSelection().selectAllChildren(block));
    button.textContent = done ? "Copied" : "Press Ctrl+C or ⌘C";
    said.textContent = done ? "Copied." : "The text is selected. Press Ctrl+C, or ⌘C, to copy it.";
    setTimeout(() => {
      button.textContent = "Copy";
      said.textContent = "";
    }, 3000);
  });
  block.after(button);
}

/** Turn sections into tabs that arrow keys walk through. */
function makeTabs(group) {
  const list = document.createElement("div");
  list.className = "cluster";
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", group.dataset.tabs);
  const panels = [...group.children];
  const tabs = panels.map((panel) => {
    const heading = panel.querySelector("h3");
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = `tab-${panel.id}`;
    tab.textContent = heading.textContent;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panel.id);
    heading.hidden = true;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    tab.addEventListener("click", () => select(tab));
    panel.addEventListener("beforematch", () => select(tab));
    list.append(tab);
    return tab;
  });

  function select(chosen) {
    tabs.forEach((tab, index) => {
      tab.setAttribute("aria-selected", String(tab === chosen));
      tab.tabIndex = tab === chosen ? 0 : -1;
      tab.classList.toggle("quiet", tab !== chosen);
      // What is searched for in the page is found in the other panels too, and opens its own.
      panels[index].hidden = tab === chosen ? false : "until-found";
    });
  }

  list.addEventListener("keydown", (event) => {
    const here = tabs.indexOf(document.activeElement);
    const last = tabs.length - 1;
    const targets = { ArrowRight: here === last ? 0 : here + 1, ArrowLeft: here === 0 ? last : here - 1, Home: 0, End: last };
    const next = tabs[targets[event.key]];
    if (!next) return;
    event.preventDefault();
    select(next);
    next.focus();
  });
  group.prepend(list);
  select(tabs.find((tab) => `#${tab.getAttribute("aria-controls")}` === location.hash) ?? tabs[0]);
}

document.querySelectorAll("pre[data-copy]").forEach(addCopyButton);
document.querySelectorAll("[data-tabs]").forEach(makeTabs);
