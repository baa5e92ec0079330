"""What a person does with the page at `/`: drops files, converts them, and reads the end."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from playwright.sync_api import FrameLocator, Page, expect

LONG_MS = 60_000
"""A conversion may wait for the other tests of a busy machine."""

_DROP = """files => {
  const transfer = new DataTransfer();
  for (const [name, text] of files) {
    const bytes = Uint8Array.from(atob(text), each => each.charCodeAt(0));
    transfer.items.add(new File([bytes], name));
  }
  return transfer;
}"""


def drop(page: Page, *files: tuple[str, bytes]) -> None:
    """Drop files on the page."""
    encoded = [[name, base64.b64encode(content).decode()] for name, content in files]
    transfer = page.evaluate_handle(_DROP, encoded)
    page.dispatch_event("#drop", "dragover", {"dataTransfer": transfer})
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def drop_paths(page: Page, *paths: Path) -> None:
    """Drop files or folders as the desktop does."""
    box = page.locator("#drop").bounding_box()
    assert box
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        place = {"x": box["x"] + 20, "y": box["y"] + 20}
        session.send("Input.dispatchDragEvent", {"type": kind, "data": data, **place})
    session.detach()


def wait_for_inspection(page: Page) -> None:
    """Wait until the page says what would be converted."""
    expect(page.locator("#job-state")).to_have_text(re.compile("^Inspected"), timeout=LONG_MS)


def convert(page: Page) -> None:
    """Convert the job that is looked at."""
    page.get_by_role("button", name="Convert", exact=True).click()


def wait_for_conversion(page: Page) -> None:
    """Wait for the end of a conversion."""
    expect(page.locator("#job-state")).to_have_text(re.compile("^Converted"), timeout=LONG_MS)


def report(page: Page) -> FrameLocator:
    """Return the report in the page."""
    return page.frame_locator("#job-report iframe")
