"""Take the pictures of docs/guide/console.md from the running stack: `make screenshots`."""

import os
import sys
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright
from sink_stack import apt, layout, settings

from .conftest import ARGUMENTS

ASSETS = Path(__file__).parents[2] / "docs" / "assets"
MAPPING = "golden-records"
PICTURES = {
    "light": ("light", 1200, 1150),
    "dark": ("dark", 1200, 1150),
    "phone": ("light", 390, 844),
}
"""Name: scheme, width and height."""


def main() -> int:
    home = layout.find(os.environ)
    found = settings.load(home)
    if found is None:
        print("there is no stack: run `make up`", file=sys.stderr)
        return 1
    program = apt.ensure_installed("chromium", "chromium", home.log("install"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        for name, (scheme, width, height) in PICTURES.items():
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme=scheme
            )
            page.goto(f"{found.console}#{MAPPING}")
            sign_in(page, found.values["SINK_API_LOCAL_KEY"])
            page.screenshot(path=ASSETS / f"console-{name}.png")
            page.close()
        browser.close()
    return 0


def sign_in(page: Page, key: str) -> None:
    """Sign in, and wait until the rates are known: they need two answers."""
    page.fill("#credential", key)
    page.keyboard.press("Enter")
    page.locator(".part-reconciliation :is(table, p:not(:has-text('…')))").wait_for()
    expect(page.locator(".facts dd").first).not_to_have_text("\u2013", timeout=20_000)


if __name__ == "__main__":
    sys.exit(main())
