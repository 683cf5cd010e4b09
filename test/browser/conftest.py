"""One VM with a dashboard, and one Chromium, for all tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from page_server import Dashboard
from playwright.sync_api import Browser, sync_playwright


@pytest.fixture(scope="session")
def dashboard() -> Iterator[Dashboard]:
    started = Dashboard()
    yield started
    started.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Debian's; its own sandbox needs what containers do not give.
        started = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield started
        started.close()
