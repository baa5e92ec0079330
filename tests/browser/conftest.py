"""A browser for the tests, and what it must not do: log, fail to load, or ask another host."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

CHROMIUM = "/usr/bin/chromium"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
_QUIET = (
    "--disable-background-networking", "--disable-component-update", "--disable-quic",
    "--disable-sync", "--no-first-run",
)  # fmt: skip


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """A headless Chromium.

    It ends with this package: while Playwright runs, no other test could run an event loop.
    """
    # Chromium's own sandbox refuses to run as root, as in many containers.
    rootless = ("--no-sandbox",) if os.geteuid() == 0 else ()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*_QUIET, *rootless])
        yield browser
        browser.close()


@dataclass
class Visits:
    """Opens pages, and notes what the browser says of them.

    Attributes:
        expected: Patterns of messages that a test expects, such as those of a refused request.
        said: The console's messages, errors of scripts, and requests that failed.
        hosts: The hosts that were asked.
    """

    browser: Browser
    expected: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    _contexts: list[BrowserContext] = field(default_factory=list)

    def open(
        self, url: str, *, dark: bool = False, narrow: bool = False, script: bool = True
    ) -> Page:
        """Open a page in a context of its own, without cookies or storage of others."""
        context = self.browser.new_context(
            accept_downloads=True,
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
            viewport=NARROW if narrow else WIDE,  # type: ignore[arg-type]  # a plain mapping
        )
        self._contexts.append(context)
        page = context.new_page()
        self.watch(page)
        page.goto(url)
        return page

    def watch(self, page: Page) -> None:
        """Note what the browser says of a page."""
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("request", self._ask)
        page.on("requestfailed", lambda request: self.said.append(f"failed: {request.url[:200]}"))

    def _ask(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https", "ws", "wss"}:
            self.hosts.add(parts.hostname or "")

    def close(self) -> None:
        """Close all pages."""
        for context in self._contexts:
            context.close()

    def unexpected(self) -> list[str]:
        """Return what the browser has said and no test expects."""
        return [
            text
            for text in self.said
            if not any(re.search(pattern, text) for pattern in self.expected)
        ]


@pytest.fixture
def visits(chromium: Browser) -> Iterator[Visits]:
    """Opens pages; afterwards nothing may have been logged, blocked, or asked of another host."""
    opened = Visits(chromium)
    yield opened
    opened.close()
    assert opened.unexpected() == []
    assert opened.hosts <= {"127.0.0.1"}
