"""Scrubbing: what is taken out of free text, and what stays."""

import re
import time

import pytest

from sink_runner.masking.scrub import scrub_contacts, scrub_contacts_and_income


@pytest.mark.parametrize(
    "secret",
    [
        "987612341234",
        "9876 1234 1234",
        "9876-1234-1234",
        "+91 98765 43210",
        "9876543210",
        "98765\u201043210",
        "९८७६५४३२१०",
        "1234 5678 9012 3456",
        "ravi.kumar@example.co.in",
        "रवि@example.in",
        "a@@b",
    ],
)
def test_scrubbing_hides_numbers_and_emails_anywhere_in_a_text(secret):
    for text in (secret, f"call {secret}, please", f"<{secret}>", f"नाम:{secret}।"):
        shown = scrub_contacts(text)
        assert secret not in shown
        assert shown.count("***MASKED***") == 1
        assert not re.search(r"\d{5}|@", shown)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "You may get Rs 1,00,000 until 2026-01-31.",
        "Seen 2026-01-31 10:00:00, case APP-20260131-000042",
        "High priority; UNCERTAINTY is not a band. Ask for medium help.",
        "मध्यम",
    ],
)
def test_scrubbing_leaves_other_text_alone(text):
    assert scrub_contacts_and_income(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Band VERY_LOW", "Band CONFIDENTIAL"),
        ("band is very low", "band is CONFIDENTIAL"),
        ("it is uncertain", "it is CONFIDENTIAL"),
        ("income band: HIGH", "income band: CONFIDENTIAL"),
        ("INCOME_LOW", "INCOME_CONFIDENTIAL"),
        ("a family of low income", "a family of CONFIDENTIAL income"),
        ("income (medium)", "income (CONFIDENTIAL)"),
        ("income known; HIGH priority", "income known; HIGH priority"),
    ],
)
def test_income_bands_are_scrubbed_and_levels_only_beside_income(text, shown):
    assert scrub_contacts_and_income(text) == shown


def test_scrubbing_a_long_text_takes_no_quadratic_time():
    """The runner would stand still on it; linear, all of it takes a fraction of a second."""
    begin = time.process_time()
    for unit in ("a", "@", "a@", "1 ", "1", "very ", "income ", "a.", "-"):
        scrub_contacts_and_income(unit * 20_000)
    assert time.process_time() - begin < 5
