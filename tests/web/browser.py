"""A real browser at a real service. What it asks of anybody else, and what fails in a page, is remembered."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, FloatRect, Page, expect, sync_playwright
from tests.live import LiveServer

PASSWORD = "correct horse battery staple"
OWNER = "owner@example.org"
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_MILLISECONDS_MAX = 60_000  # a small model on a busy machine
Size = Literal["desktop", "tablet", "phone", "narrow"]
Scheme = Literal["light", "dark"]
SIZES: dict[Size, tuple[int, int]] = {"desktop": (1280, 860), "tablet": (1024, 768), "phone": (390, 844), "narrow": (320, 640)}


def program() -> str:
    """The system's Chromium. Skips without one; fails then in CI, so that it is never left out there."""
    found = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    if found is None:
        message = "there is no Chromium: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    executable = program()
    expect.set_options(timeout=_MILLISECONDS_MAX)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(_FLAGS))
        yield browser
        browser.close()


@dataclass
class Window:
    """One browser window with cookies of its own."""

    server: LiveServer
    context: BrowserContext
    page: Page
    strangers: list[str] = field(default_factory=list)
    """Addresses outside of the service that a page asked for."""
    complaints: list[str] = field(default_factory=list)
    """Errors of scripts, and what the policy blocked."""
    dialogs: list[str] = field(default_factory=list)

    def go(self, path: str) -> Page:
        self.page.goto(self.server.url + path)
        return self.page

    def sign_in(self, email: str = OWNER) -> None:
        self.go("/signin")
        self.page.get_by_label("Email").fill(email)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/keys")

    def check(self) -> None:
        assert self.strangers == [], "a page asked for something outside of the service"
        assert self.complaints == []
        assert self.dialogs == [], "a script ran that is not ours"


@contextmanager
def window(
    browser: Browser, server: LiveServer, size: Size = "desktop", scheme: Scheme = "light", **options: Any
) -> Iterator[Window]:
    """A window for the length of a `with`, after which it must have behaved."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
    context.set_default_timeout(_MILLISECONDS_MAX)
    opened = Window(server, context, context.new_page())
    context.on("request", lambda request: _note_stranger(opened, request.url))
    context.on("console", lambda message: _note_complaint(opened, message))
    context.on("weberror", lambda error: opened.complaints.append(str(error.error)))
    opened.page.on("dialog", lambda dialog: _note_dialog(opened, dialog))
    try:
        yield opened
        opened.check()
    finally:
        context.close()


def owner_link(server: LiveServer) -> str:
    """The path of the link that `tollway serve` printed."""
    log = (server.home.parent / f"{server.home.name}.log").read_text()
    found = re.findall(r"/welcome/\w{32}", log)
    assert found, log[-2000:]
    return str(found[-1])


def make_owner(browser: Browser, server: LiveServer) -> None:
    with window(browser, server) as first:
        page = first.go(owner_link(server))
        page.get_by_label("Email").fill(OWNER)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_label("The same again").fill(PASSWORD)
        page.get_by_role("button", name="Sign up").click()
        page.wait_for_url("**/keys")


def shot(page: Page, path: Path, *, height: int | None = None) -> None:
    """A picture of what is in sight, or of the first `height` pixels of it."""
    size = page.viewport_size
    assert size is not None
    clip: FloatRect = {"x": 0, "y": 0, "width": size["width"], "height": min(height or size["height"], size["height"])}
    page.screenshot(path=path, animations="disabled", clip=clip)


def _note_dialog(opened: Window, dialog: Dialog) -> None:
    opened.dialogs.append(dialog.message)
    dialog.dismiss()


def _note_stranger(opened: Window, url: str) -> None:
    if not url.startswith((opened.server.url, "data:", "blob:")):
        opened.strangers.append(url)


def _note_complaint(opened: Window, message: ConsoleMessage) -> None:
    # an answer with an error status is told on the console, too; tests make those on purpose
    if message.type == "error" and "Failed to load resource" not in message.text:
        opened.complaints.append(message.text)
