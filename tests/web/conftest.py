"""One service and one browser for all tests of a session; each test has a window and jobs of its own."""

from __future__ import annotations

import itertools
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parent))

from served import TOKEN
from waiting import PATIENCE

from service import Service

OpenWindow = Callable[..., Page]


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service under test."""
    service = Service(tmp_path_factory.mktemp("service"))
    yield service
    service.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    program = shutil.which("chromium")
    assert program, "chromium is missing: tests/web/run installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_window(service: Service, browser: Browser) -> Iterator[OpenWindow]:
    """Opens windows, which must show nothing that their page's policy refuses, and no error of the script."""
    contexts, complaints = [], []

    def complain(kind: str, text: str) -> None:
        # An answer that is an error is told as one, also where it is what a test wants to see.
        if "Failed to load resource" not in text:
            complaints.append(f"{kind}: {text}")

    def open_one(*, signed_in: bool = True, width: int = 1440, **options: Any) -> Page:
        size = {"width": width, "height": 900}
        context = browser.new_context(base_url=service.url, viewport=size, **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE * 1000)
        page = context.new_page()
        page.on("pageerror", lambda error: complain("error", str(error)))
        page.on("console", lambda message: complain(message.type, message.text) if message.type == "error" else None)
        if signed_in:
            sign_in(page)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not complaints


def sign_in(page: Page) -> None:
    """Signs in with the installation's token."""
    page.goto("/sign-in")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")


_numbers = itertools.count(1)


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"job-{next(_numbers)}"
