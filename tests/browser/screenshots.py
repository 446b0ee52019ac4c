"""Take the pictures of docs/guide/console.md, with recorded answers: `make screenshots`."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright
from sink_stack import apt

from ..support.console_service import KEY, recorded_console
from .conftest import ARGUMENTS

ASSETS = Path(__file__).parents[2] / "docs" / "assets"
MAPPING = "golden-records"
PICTURES = {
    "light": ("light", 1200, 1240),
    "dark": ("dark", 1200, 1240),
    "phone": ("light", 390, 844),
}
"""Name: scheme, width and height."""


def main() -> int:
    program = apt.ensure_installed("chromium", "chromium", Path(tempfile.gettempdir(), "apt.log"))
    with recorded_console() as (url, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        for name, (scheme, width, height) in PICTURES.items():
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme=scheme
            )
            page.goto(f"{url}#{MAPPING}")
            sign_in(page)
            page.screenshot(path=ASSETS / f"console-{name}.png")
            if name == "light":
                page.locator("#mapping").screenshot(path=ASSETS / "console-mapping.png")
            page.close()
        browser.close()
    return 0


def sign_in(page: Page) -> None:
    """Sign in, and wait until the rates are known: they need two answers."""
    page.fill("#credential", KEY)
    page.keyboard.press("Enter")
    expect(page.locator(".part-reconciliation table")).to_be_visible()
    expect(page.locator(".facts dd").first).not_to_have_text("\u2013", timeout=20_000)


if __name__ == "__main__":
    sys.exit(main())
