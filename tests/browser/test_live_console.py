"""The console on `sink-runner api`, real databases and the heartbeats of a runner."""

import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from sink_runner.config import load
from sink_runner.control.reload import ReloadWatch
from sink_runner.loading import discovery
from sink_runner.model.status import Health
from sink_runner.runtime.control_link import linked

from ..support.console_process import CANARIES, MAPPINGS, console

pytestmark = pytest.mark.postgres
__all__ = ["console"]


@pytest.fixture(scope="module", autouse=True)
def runner(console) -> Iterator[Health]:
    """Send the heartbeats of a runner that has all mappings."""
    installed, health = discovery.installed(), Health()
    for name in MAPPINGS:
        discovery.load(installed[name])
        health.mapping(name).running()
    plugins = [installed[name] for name in MAPPINGS]
    config, reload = load(console.config, {}).config(), ReloadWatch("host:1", threading.Event())
    with linked(config, plugins, health, reload):
        yield health


@pytest.fixture
def sign_in(console, open_page):
    def sign_in(key: str, name: str = "") -> Page:
        page = open_page(f"{console.url}/console#{name}")
        page.fill("#credential", console.keys[key])
        page.keyboard.press("Enter")
        return page

    return sign_in


def test_operator_pauses_and_resumes_a_mapping(console, sign_in):
    """The plan comes first; then the reason is in the database, and the page shows it."""
    page = sign_in("operate", "golden-records")
    expect(page.locator("h1")).to_contain_text(f"All {len(MAPPINGS)} mappings run")
    page.click("#do-pause")
    page.fill("#field-reason", "portal upgrade")
    page.keyboard.press("Enter")
    expect(page.locator(".plan")).to_contain_text("every runner finishes its batch")
    expect(page.locator(".plan")).to_contain_text("pause golden-records --reason 'portal upgrade'")
    assert desired(console) is None
    page.keyboard.press("Enter")
    expect(page.locator(".reason")).to_contain_text("paused: operate paused it at")
    expect(page.locator(".way-out")).to_have_text("Way out: sink-runner resume golden-records")
    expect(page.locator("h1")).to_contain_text(f"{len(MAPPINGS) - 1} of {len(MAPPINGS)}")
    assert desired(console) == ("paused", "portal upgrade")
    page.click("#do-resume")
    page.click("dialog .primary")
    expect(page.locator(".reason")).to_have_text("running")
    assert desired(console) == ("running", "")


def desired(console) -> tuple[str, str] | None:
    query = "SELECT desired, reason FROM sink.mapping_control WHERE mapping = 'golden-records'"
    return console.admin["citizen"].execute(query).fetchone()


def test_observer_sees_which_scope_is_missing(sign_in):
    page = sign_in("observe", "decisions")
    page.click("#do-resume")
    expect(page.locator("dialog .fault")).to_have_text(
        "Resume failed: the caller has no scope operate."
    )


def test_key_without_observe_cannot_sign_in(sign_in):
    page = sign_in("none")
    expect(page.get_by_role("alert")).to_have_text(
        "Not permitted: the caller has no scope observe."
    )


def test_page_holds_no_personal_value(sign_in):
    """Of each mapping every part is loaded; the databases hold made-up personal values."""
    page = sign_in("observe")
    for name in MAPPINGS:
        page.evaluate("name => { location.hash = name }", name)
        expect(page.locator("h2")).to_have_text(name)
        expect(page.locator(".parts .body > p", has_text="…")).to_have_count(0)
        expect(page.locator(".parts .body > p", has_text="Not available")).to_have_count(0)
        content = page.content()
        assert not [canary for canary in CANARIES if canary in content]


def test_operator_reconciles_a_mapping(sign_in):
    """The process that the service starts compares the databases, and the page lists its result."""
    page = sign_in("operate", "decisions")
    expect(page.locator(".part-reconciliation")).to_contain_text("Never run.")
    page.click("#do-reconcile")
    page.check("#field-full")
    page.click("dialog .primary")
    expect(page.locator(".plan")).to_contain_text("sink-runner reconcile decisions --full")
    page.click("dialog .primary")
    expect(page.locator(".done")).to_contain_text("decisions: reconciliation started")
    expect(page.locator(".part-reconciliation")).to_contain_text("equal", timeout=30_000)
