"""Fixtures of the browser tests: one browser, one service with an owner."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.live import LiveServer, serving
from tests.web.browser import chromium, make_owner


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="session")
def fresh(browser: Browser, models_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A service without an owner; `tollway serve` has printed the link. Without a browser there is no need for it."""
    home = tmp_path_factory.mktemp("web") / "home"
    with serving(home, models_path, engine_slots="2", engine_threads="1", signup="open") as live:
        yield live


@pytest.fixture(scope="session")
def site(browser: Browser, fresh: LiveServer) -> LiveServer:
    """The service with an owner."""
    make_owner(browser, fresh)
    return fresh
