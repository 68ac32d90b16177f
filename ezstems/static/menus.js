// Menus that are <details>: they work without this script, which closes them as one expects of a menu.

/** Close a menu on Escape, which returns the focus to it, on a press elsewhere, and when the focus leaves it. */
export function listenToMenus() {
  const open = () => document.querySelector("details.menu[open]");
  const closeUnless = (target) => {
    const menu = open();
    if (menu && !menu.contains(target)) menu.open = false;
  };
  document.addEventListener("pointerdown", ({ target }) => closeUnless(target));
  document.addEventListener("focusin", ({ target }) => closeUnless(target));
  document.addEventListener("keydown", (event) => {
    const menu = open();
    if (event.key !== "Escape" || !menu || event.target.closest("dialog")) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}
