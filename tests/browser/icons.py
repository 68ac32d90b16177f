"""Draw the icons of the installed website from icon.svg: `python -m tests.browser.icons`."""

import shutil

from playwright.sync_api import sync_playwright

from tests.browser.conftest import FLAGS, NAMES
from tests.support.servers import ROOT

STATIC = ROOT / "ezstems" / "static"
# By file: its pixels, and how much of them the picture takes. What a phone cuts to its own shape has its ground up to
# the edge, and iOS shows what is transparent as black.
ICONS = {"icon-192": (192, 1.0), "icon-512": (512, 1.0), "maskable-512": (512, 0.72), "apple-touch-180": (180, 0.86)}
GROUND = "#4040c8"  # of icon.svg


def main() -> None:
    """Let a browser draw each."""
    path = next(filter(None, map(shutil.which, NAMES)))
    svg = (STATIC / "icon.svg").read_text()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        for name, (pixels, fraction) in ICONS.items():
            page = browser.new_page(viewport={"width": pixels, "height": pixels})
            ground = "transparent" if fraction == 1 else GROUND
            style = f"body {{ margin: 0; height: 100vh; display: grid; place-items: center; background: {ground} }}"
            page.set_content(f"<style>{style} svg {{ width: {100 * fraction}% }}</style>{svg}")
            file = STATIC / "icons" / f"{name}.png"
            page.screenshot(path=file, omit_background=True)
        browser.close()


if __name__ == "__main__":
    main()
