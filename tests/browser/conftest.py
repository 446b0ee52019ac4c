"""Chromium, started once for each module, and pages in sessions of their own."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from sink_stack import apt

ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


def pytest_itemcollected(item: pytest.Item) -> None:
    if "browser" in getattr(item, "fixturenames", ()):
        item.add_marker("browser")


# Playwright runs an event loop in the thread of the tests, which those of other modules must not
# find there.
@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium from Debian's package, which apt installs if it is missing."""
    program = apt.ensure_installed("chromium", "chromium", tmp_path_factory.getbasetemp() / "apt")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages; a script error or a resource that the policy refuses fails the test."""
    faults: list[str] = []
    contexts = []

    def open_(url: str, *, width: int = 1280, scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: note(message, faults))
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert faults == []


def note(message, faults: list[str]) -> None:
    # Chromium reports an answer of 401 or 503 as an error, and some tests ask for one.
    if message.type == "error" and "Failed to load resource" not in message.text:
        faults.append(message.text)
