"""The console's page in Chromium, with recorded answers."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from ..support.console_service import KEY, recorded_console

LINE = "sink-runner pause decisions --reason 'portal upgrade'"
CONTRAST = """
() => {
  const channel = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((part) => channel(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const grounds = ["--ground", "--surface", "--tint"].map((name) => {
    document.body.style.backgroundColor = `var(${name})`;
    return getComputedStyle(document.body).backgroundColor;
  });
  document.body.style.backgroundColor = "";
  const ratios = [...document.querySelectorAll(".picture text")].flatMap((text) =>
    grounds.map((ground) => {
      const [a, b] = [light(getComputedStyle(text).fill), light(ground)];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    }));
  return Math.min(...ratios);
}
"""


@pytest.fixture
def console():
    with recorded_console() as (url, service):
        service.url = url
        yield service


@pytest.fixture
def signed_in(console, open_page):
    """Open the page, enter the key, and choose the mapping `name`."""

    def sign_in(name: str = "", **options) -> Page:
        page = open_page(console.url, **options)
        page.fill("#credential", KEY)
        page.keyboard.press("Enter")
        expect(page.locator(".flow a").first).to_be_visible()
        if name:
            page.evaluate("name => { location.hash = name }", name)
            expect(page.locator("h2")).to_have_text(name)
            expect(page.locator(".part-reconciliation table")).to_be_attached()
        return page

    return sign_in


def press_until_focus(page: Page, selector: str) -> None:
    for _ in range(60):
        if page.locator(f"{selector}:focus").count():
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the keyboard does not reach {selector}")


def test_page_shows_states_and_their_reasons(signed_in):
    page = signed_in()
    expect(page.locator("h1")).to_have_text("9 of 12 mappings run; the oldest change waits 14 min.")
    held = page.locator(".held-list li")
    expect(held).to_have_count(3)
    expect(held.filter(has_text="profiles")).to_contain_text("paused: asha paused it at")
    expect(page.locator(".lane.late")).to_contain_text("75 s behind")
    expect(page.locator(".lane.late")).to_contain_text("2 deferred · 4 dead letters")


def test_wrong_key_is_explained_and_forgotten(console, open_page):
    page = open_page(console.url)
    page.fill("#credential", "sink_wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text(
        "The service refused this credential: the API key is not known."
    )
    expect(page.locator("#credential")).to_be_focused()
    assert (
        page.evaluate("sessionStorage.length + localStorage.length + document.cookie.length") == 0
    )


def test_keyboard_alone_pauses_and_resumes(console, signed_in):
    """Tab, Enter and text choose a mapping, read the plan of a pause, and confirm it."""
    page = signed_in()
    press_until_focus(page, "[data-key=lane-decisions]")
    page.keyboard.press("Enter")
    expect(page.locator("h2")).to_be_focused()
    press_until_focus(page, "#do-pause")
    page.keyboard.press("Enter")
    expect(page.locator("#field-reason")).to_be_focused()
    page.keyboard.type("portal upgrade")
    page.keyboard.press("Enter")
    expect(page.locator(".plan")).to_contain_text(LINE)
    assert console.reports["decisions"]["state"] == "running"
    expect(page.get_by_role("button", name="Pause decisions")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".reason")).to_contain_text("paused: local paused it at")
    expect(page.get_by_role("status")).to_have_text("decisions: paused.")
    expect(page.locator(".way-out")).to_have_text("Way out: sink-runner resume decisions")
    press_until_focus(page, "#do-resume")
    page.keyboard.press("Enter")
    expect(page.locator(".plan li")).to_have_count(2)
    press_until_focus(page, "dialog .primary")
    page.keyboard.press("Enter")
    expect(page.locator(".reason")).to_have_text("running")
    assert [body["dry_run"] for _, body in console.posts] == [True, False, True, False]


def test_changed_reason_asks_for_its_plan_again(console, signed_in):
    page = signed_in("decisions")
    page.click("#do-pause")
    page.fill("#field-reason", "one")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Pause decisions")).to_be_visible()
    page.fill("#field-reason", "another")
    expect(page.get_by_role("button", name="Show the plan")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    assert [body["dry_run"] for _, body in console.posts] == [True]


@pytest.mark.parametrize(
    ("scheme", "rules"),
    [
        ("light", ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]),
        ("dark", ["color-contrast"]),
    ],
)
def test_page_meets_wcag_aa_in_both_schemes(signed_in, open_page, console, scheme, rules):
    """axe checks the page with its dialog, and the form; it does not know SVG's `fill`."""
    page = signed_in("decisions", scheme=scheme)
    assert page.evaluate(CONTRAST) >= 4.5
    page.click("#as-table")
    check_accessibility(page, rules)
    page.click("#do-pause")
    check_accessibility(page, rules, context="dialog")
    check_accessibility(open_page(console.url, scheme=scheme), rules)


def check_accessibility(page: Page, rules: list[str], context: str | None = None) -> None:
    results = Axe().run(page, context, {"runOnly": rules})
    assert results.violations_count == 0, results.generate_report()
    assert results.response["passes"]


def test_phone_has_cards_and_no_sideways_scroll(signed_in):
    page = signed_in("decisions", width=360)
    expect(page.locator(".mappings")).to_be_visible()
    expect(page.locator(".picture")).to_have_count(0)
    page.click("#do-pause")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("document.querySelector('dialog').scrollWidth") <= 360


def test_markup_in_an_answer_stays_text(console, signed_in):
    console.reports["profiles"]["reason"] = "<img src=x onerror=alert(1)>"
    page = signed_in("profiles")
    expect(page.locator(".reason")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("main img").count() == 0


def poll(page: Page) -> None:
    """Make the page refresh now, as it does when its tab becomes visible."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_answer_that_fails_leaves_the_last_one(console, signed_in):
    page = signed_in()
    page.route("**/v1/mappings", lambda route: route.abort())
    poll(page)
    expect(page.locator(".notice")).to_contain_text("the service does not answer")
    expect(page.locator("h1")).to_contain_text("9 of 12 mappings run")
    page.unroute("**/v1/mappings")
    poll(page)
    expect(page.locator(".notice")).to_have_count(0)


def test_row_is_followed_by_key_or_offset(console, signed_in):
    page = signed_in("decisions")
    for text in ("7", "smart_warehouse.decision.applications:0:17"):
        page.fill("#follow", text)
        page.keyboard.press("Enter")
        expect(page.locator("#follow + button")).to_be_enabled()
        expect(page.locator(".followed .why")).to_contain_text("holds something newer")
    expect(page.locator(".followed li")).to_have_count(2)
    expect(page.locator(".followed td").first).to_have_text("7")
    assert [body for _, body in console.posts] == [
        {"key": "7"},
        {"at": "smart_warehouse.decision.applications:0:17"},
    ]
