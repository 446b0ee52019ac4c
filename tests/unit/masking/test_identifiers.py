"""All spellings of an identifier have the same pseudonym; other values have other ones."""

import hmac
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sink_runner.masking.identifiers import normalize_identifier
from sink_runner.masking.masks import keyed_hash

KEY = b"0123456789abcdef0123456789abcdef"
MASK = keyed_hash(KEY)

texts = st.one_of(
    st.text(max_size=40),
    st.text("0123456789", max_size=14),
    st.text("09१ -.,/()+@:telmailto", max_size=20),
    st.from_regex(r"[a-z0-9.अ-ह]{0,8}@[a-z]{1,8}\.(in|com)", fullmatch=True),
)


def pseudonym(value):
    """Return the pseudonym of exactly this spelling, without normalization."""
    digest = hmac.digest(KEY, value.encode(), "sha256")[:24]
    return (digest + hmac.digest(KEY, b"\0seal\0" + digest, "sha256")[:8]).hex()


@pytest.mark.parametrize(
    ("canonical", "spellings"),
    [
        (
            "987612341234",
            [
                *("9876 1234 1234", "9876-1234-1234", " 987612341234\n", "9876.1234.1234"),
                *("(9876) 12341234", "9876\u20131234\u20131234", "9876\u00a01234\u20091234"),
                *("९८७६१२३४१२३४", "९८७६ १२३४ १२३४", "\uff19\uff18\uff17\uff16\uff0d12341234"),
                *("9876\u200b12341234", "9\ufe0f\u20e387612341234", 987612341234),
                *(Decimal(987612341234), "٩٨٧٦١٢٣٤١٢٣٤"),
            ],
        ),
        (
            "9876543210",
            [
                *("98765 43210", "98765-43210", 9876543210, "+919876543210", "+91 98765 43210"),
                *("+91-98765-43210", "(+91) 98765 43210", "00919876543210", "0091 98765 43210"),
                *("09876543210", "0 98765-43210", "919876543210", "91 9876543210"),
                *("987,654,3210", "98765/43210", "98765_43210", "tel:+91-98765-43210"),
                *("+91 (0) 98765 43210", "0919876543210", 919876543210, "+ 91 98765 43210"),
                *(
                    "\uff0b\uff19\uff11 98765 43210",
                    "+९१ ९८७६५ ४३२१०",
                    "٠٩٨٧٦٥٤٣٢١٠",
                    "九八七六五四三二一〇",
                ),
            ],
        ),
        (
            "ravi.kumar@example.in",
            [
                *("Ravi.Kumar@Example.IN", " ravi.kumar@example.in ", "ravi.kumar\uff20example.in"),
                *("ravi.kumar@exa\u200bmple.in", "ravi.kumar @ example.in"),
                "MAILTO:Ravi.Kumar@example.in",
            ],
        ),
    ],
)
def test_spellings_of_identifier_have_same_pseudonym(canonical, spellings):
    for value in (canonical, *spellings):
        assert MASK(value) == pseudonym(canonical)


@pytest.mark.parametrize(
    "value",
    [
        *("Asha Devi", "asha devi", " Asha Devi", "ABCDE1234F", "abcde1234f", "रवि@example.in"),
        *("192.168.100.200", "1234567.890", "-9876543210", "2026-01-31 10:00:00", "987-1234", "½"),
        *("2026-01-31", "00000000-0000-4000-8000-000000000001", "987612341234 or 9876543210", ""),
        *("रव@example.in", "APP-20260131-000042", "9" * 20, "2026-01-31 2026-02-01"),
        *("911234567890", "929876543210", "01412345678", "009876543210", "九龍", "十八"),
        *("26.912434, 75.787270", "26.912434 75.787270", "1234567,89", "31/01/2026 10:00:00"),
        *("tel:112", "mailto:asha"),
    ],
)
def test_other_values_are_not_normalized(value):
    assert MASK(value) == pseudonym(value)


PREFIXES = ["", "0", "91", "+91", "0091", "091", "+91 (0)", "+91-", "0-", "91 "]


@given(
    digits=st.from_regex("[6-9][0-9]{9}", fullmatch=True),
    prefix=st.sampled_from(PREFIXES),
    gaps=st.lists(st.sampled_from(["", " ", "-", "\u200b", "\u00a0", ") ", "/", ","]), min_size=9),
    zero=st.sampled_from("0\u0966\u0660\uff10\U0001d7ce"),
)
def test_mobile_number_has_one_pseudonym(digits, prefix, gaps, zero):
    grouped = digits[0] + "".join(gap + digit for gap, digit in zip(gaps, digits[1:], strict=False))
    script = {ord("0") + digit: ord(zero) + digit for digit in range(10)}
    spelled = (prefix + grouped).translate(script)
    assert MASK(spelled) == pseudonym(digits)


@given(first=texts, second=texts)
def test_equal_pseudonyms_mean_equal_identifiers(first, second):
    if MASK(first) == MASK(second):
        assert normalize_identifier(first) == normalize_identifier(second)
    assert normalize_identifier(normalize_identifier(first)) == normalize_identifier(first)
