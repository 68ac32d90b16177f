"""Drop files on a page."""

from base64 import b64encode
from collections.abc import Mapping

from playwright.sync_api import Page

_TRANSFER = """(files) => {
  const transfer = new DataTransfer();
  for (const [name, base64] of Object.entries(files)) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], name));
  }
  return transfer;
}"""


def drop(page: Page, selector: str, files: Mapping[str, bytes]) -> None:
    """Drag files, contents by name, over an element and let them go."""
    transfer = page.evaluate_handle(_TRANSFER, {name: b64encode(content).decode() for name, content in files.items()})
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event(selector, event, {"dataTransfer": transfer})
