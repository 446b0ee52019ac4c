"""Masks: what they keep and hide, for examples and for generated values."""

import re
import unicodedata
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sink_runner.errors import PolicyError
from sink_runner.masking import masks
from sink_runner.masking.masks import MaskKind, compile_mask

KEY = b"0123456789abcdef0123456789abcdef"

JAN_AADHAAR = "show_last({col}, 4, '****-****-')"
MOBILE = "show_last({col}, 4, '******')"
EMAIL = "show_email({col})"

INVISIBLE = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cf"}

ALL = {
    **{kind.value: compile_mask(kind, key=KEY) for kind in MaskKind if kind != "CUSTOM"},
    **{
        text: compile_mask(MaskKind.CUSTOM, text)
        for text in (
            JAN_AADHAAR,
            MOBILE,
            EMAIL,
            "'CONFIDENTIAL'",
            "scrub_contacts({col})",
            "scrub_contacts_and_income({col})",
        )
    },
}
del ALL["MASK_NONE"]
jan_aadhaar, mobile = ALL[JAN_AADHAAR], ALL[MOBILE]
every_mask = pytest.mark.parametrize("mask", ALL.values(), ids=ALL)

devanagari = st.text(st.characters(min_codepoint=0x900, max_codepoint=0x97F))
digits = st.text("0123456789", max_size=14)
emails = st.from_regex(r"[a-z0-9.अ-ह]{0,8}@[a-z]{1,8}\.(in|com)", fullmatch=True)
near_masked = st.text("*-@x.1a ", max_size=16)
words = st.lists(
    st.sampled_from(
        ["income", "VERY_LOW", "very low", "HIGH", "band", "a@b.in", "9876543210", ".", "12 34"]
    )
).map(" ".join)
texts = st.one_of(st.text(max_size=40), devanagari, digits, emails, near_masked, words)
values = st.one_of(texts, st.integers(), st.decimals(), st.dates(), st.datetimes(), st.booleans())


def count_characters(text):
    """Count the characters that a reader sees: without marks, blanks and format characters."""
    visible = [char for char in text if char not in INVISIBLE and not char.isspace()]
    return sum(unicodedata.category(char) not in ("Mn", "Mc", "Me", "Cc") for char in visible)


@pytest.mark.parametrize(
    ("expression", "value", "masked"),
    [
        (JAN_AADHAAR, "987612341234", "****-****-1234"),
        (MOBILE, "9876545678", "******5678"),
        (EMAIL, "user@example.com", "u***@example.com"),
        ("'CONFIDENTIAL'", "VERY_LOW", "CONFIDENTIAL"),
        ("'***MASKED***'", "987612341234", "***MASKED***"),
    ],
)
def test_masks_of_specification_are_exact(expression, value, masked):
    assert compile_mask(MaskKind.CUSTOM, expression)(value) == masked


@every_mask
@given(value=values)
def test_masking_twice_changes_nothing(mask, value):
    once = mask(value)
    assert mask(once) == once


@every_mask
@given(value=values)
def test_masked_value_is_text_date_or_null(mask, value):
    assert isinstance(mask(value), (str, date, type(None)))


@pytest.mark.parametrize("name", [name for name in ALL if not name.startswith("'")])
def test_null_stays_null(name):
    assert ALL[name](None) is None


@pytest.mark.parametrize(
    "value",
    [
        *("\u200b1234", "12\u200d34\ufeff", "1234 \u200b", "\u00ad" * 9 + "1234", "1234\x01"),
        *("1234\u0301\u0302", "1234 \u0301", "रविना", "कृष्ण", "1 2 3 4", "\x7f 1234"),
    ],
    ids=ascii,
)
def test_invisible_characters_do_not_lengthen_values(value):
    """Otherwise a mask would keep all of four digits behind a zero-width character."""
    for name in (JAN_AADHAAR, MOBILE, "MASK_SHOW_LAST_4", "MASK_SHOW_FIRST_4"):
        assert not {*value} & {*ALL[name](value)}
    assert ALL[EMAIL](f"{value[:1]}\u200b@x.in") == "***@x.in"


# None of these characters is in the text that a mask adds.
texts_unlike_masks = st.text("123456789abdefgकखगअइउ १२३४५\u093f\u200b", min_size=1, max_size=14)


@pytest.mark.parametrize("name", [name for name in ALL if not name.startswith("scrub")])
@given(value=texts_unlike_masks)
def test_masks_keep_at_most_four_characters(name, value):
    """Scrubbed text is an exception: it keeps names and short numbers."""
    masked = ALL[name](value) or ""
    if name == "MASK_HASH":
        assert re.fullmatch("[0-9a-f]{64}", masked)
        return
    kept = [char for char in masked if char in value and char != " "]
    assert len(kept) <= 4
    assert count_characters("".join(kept)) < max(count_characters(value.replace(" ", "")), 1)


def test_constant_replaces_null():
    assert ALL["'CONFIDENTIAL'"](None) == "CONFIDENTIAL"


@given(text=texts)
def test_show_last_keeps_four_characters(text):
    tail = text.strip()[-4:] if count_characters(text.strip()) >= 8 else "****"
    assert jan_aadhaar(text) == "****-****-" + tail
    assert mobile(text) == "******" + tail


@given(text=st.text("0123456789अआइ", min_size=5, max_size=14))
def test_long_value_is_never_kept_whole(text):
    for name in (JAN_AADHAAR, MOBILE, EMAIL, "MASK_SHOW_LAST_4", "MASK_SHOW_FIRST_4", "MASK_HASH"):
        assert text not in ALL[name](text)


@pytest.mark.parametrize(
    "short",
    ["", "1", "1234", " 1234 ", "कखगघ", 1234, Decimal("12.5"), True, "12345", "1234567", 12345],
)
def test_short_value_is_hidden_completely(short):
    assert jan_aadhaar(short) == "****-****-****"
    assert mobile(short) == "**********"
    for name in ("MASK_SHOW_LAST_4", "MASK_SHOW_FIRST_4"):
        assert set(ALL[name](short)) <= {"x"}


@pytest.mark.parametrize("prefix", ["*", "#", "x", "X-", "***"])
@given(text=st.text("0123456789", max_size=14))
def test_show_last_keeps_at_most_half(prefix, text):
    mask = masks.show_last(4, prefix)
    masked = mask(text)
    assert masked == prefix + (text[-4:] if len(text) >= 8 else "****")
    assert mask(masked) in (masked, prefix + "****")


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        (987612341234, "****-****-1234"),
        (Decimal(987612341234), "****-****-1234"),
        (date(2026, 1, 31), "****-****-1-31"),
        ("९८७६१२३४१२३४", "****-****-१२३४"),
    ],
)
def test_show_last_converts_other_types_to_text(value, masked):
    assert jan_aadhaar(value) == masked


@given(value=values)
def test_masked_values_satisfy_checks_of_target_tables(value):
    """`.` of PostgreSQL matches a line feed too."""
    assert re.fullmatch(r"\*{4}-\*{4}-.{4}", jan_aadhaar(value), re.DOTALL)
    assert re.fullmatch(r"\*{6}.{4}", mobile(value), re.DOTALL)
    assert re.match(r".?\*{3}@", masks.show_email(value), re.DOTALL)


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("u@x.in", "***@x.in"),
        (" u @x.in", "***@x.in"),
        ("नमस्ते@x.in", "न***@x.in"),
        ("a@b@c.in", "a***@c.in"),
        (".u@x.in", "***@x.in"),
        ("***@x.in", "***@x.in"),
        ("9876543210", "***@***"),
        ("", "***@***"),
        ("@9876543210", "***@***"),
        ("user@", "***@***"),
        ("u@9876543210", "***@***"),
        ("user@9876543210.in", "***@***"),
        ("user@mail.9876-1234-1234.in", "***@***"),
        ("user@९८७६५४३२१०.in", "***@***"),
        ("user@98765%2043210.in", "***@***"),
        ("user@mail2.example.in", "u***@mail2.example.in"),
        ("user@x.in or 9876543210", "***@***"),
        (9876543210, "***@***"),
    ],
)
def test_show_email_hides_short_and_invalid_addresses(value, masked):
    assert masks.show_email(value) == masked


@given(text=texts)
def test_show_email_keeps_one_character_of_local_part(text):
    masked = masks.show_email(text)
    local, _, domain = masked.rpartition("@")
    before = text.strip().rpartition("@")[0].strip()
    assert domain == "***" or text.strip().endswith("@" + domain)
    assert local == "***" or (local == before[0] + "***" and count_characters(before) > 1)


@given(text=st.one_of(texts, devanagari))
def test_redact_replaces_alphanumerics_of_every_script(text):
    masked = ALL["MASK"](text)
    assert len(masked) == len(text)
    assert set(re.sub(r"[^\w]", "", masked)) <= set("Xx0_")
    assert masked.isascii()


def test_redact_keeps_case_and_punctuation():
    assert ALL["MASK"]("Ravi-कु 42, Éa") == "Xxxx-xx 00, Xx"


@given(text=texts)
def test_show_first_and_last_hide_short_values(text):
    stripped = text.strip()
    last, first = ALL["MASK_SHOW_LAST_4"](text), ALL["MASK_SHOW_FIRST_4"](text)
    hidden = "x" * (len(stripped) - 4) if count_characters(stripped) >= 8 else ""
    assert last == (hidden + stripped[-4:] if hidden else "x" * len(stripped))
    assert first == (stripped[:4] + hidden if hidden else "x" * len(stripped))


def test_hash_depends_on_value_and_key():
    masked = ALL["MASK_HASH"]("987612341234")
    assert re.fullmatch("[0-9a-f]{64}", masked)
    assert masked != ALL["MASK_HASH"]("987612341235")
    assert masked != masks.keyed_hash(KEY[::-1])("987612341234")


@given(text=st.text("0123456789abcdef", min_size=64, max_size=64))
def test_value_in_form_of_hash_is_hashed(text):
    assert ALL["MASK_HASH"](text) != text


def test_hash_with_missing_or_short_key_is_refused():
    with pytest.raises(PolicyError, match=r"policies\.key"):
        compile_mask(MaskKind.HASH)
    with pytest.raises(PolicyError, match="32 bytes"):
        compile_mask(MaskKind.HASH, key=KEY[1:])


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        (date(1980, 5, 17), date(1980, 1, 1)),
        (datetime(1980, 5, 17, 3, tzinfo=UTC), datetime(1980, 1, 1, tzinfo=UTC)),
        ("1980-05-17", "1980-01-01"),
        ("1980-05-17T03:00:00Z", "1980-01-01"),
        ("9876-1", None),
        ("987612341234", None),
        ("१९८०-०५-१७", None),
        (3789, None),
        ("0044-03-15 BC", "0044-01-01 BC"),
        ("0044-03-15T12:30:45Z BC", "0044-01-01 BC"),
    ],
)
def test_show_year_keeps_only_the_year(value, masked):
    assert ALL["MASK_DATE_SHOW_YEAR"](value) == masked


def test_mask_none_has_no_function():
    assert compile_mask(MaskKind.NONE) is None


def test_mask_null_returns_null():
    assert ALL["MASK_NULL"]("987612341234") is None


@pytest.mark.parametrize(
    "expression",
    [
        None,
        "",
        "''",
        "4",
        "{col}",
        "show_last({col})",
        "show_last({col}, 4)",
        "show_last({col}, 5, '***')",
        "show_last({col}, 0, '***')",
        "show_last({col}, -1, '***')",
        "show_last({col}, True, '***')",
        "show_last({col}, 4, '')",
        "show_last({col}, 4, 'Aadhaar ')",
        "show_last({col}, 4, {col})",
        "show_last({other}, 4, '***')",
        "show_last({col, col}, 4, '***')",
        "show_last(col, 4, '***')",
        "show_last({col}, count=4, prefix='***')",
        "show_last({col}, *(4, '***'))",
        "show_last({col}, 4, '***') + {col}",
        "show_email({col}, 1)",
        "show_email({col}, {col})",
        "show_email({col}, x=1)",
        "show_email('x')",
        "f'{col}'",
        "concat('****', right({col}, 4))",
        "__import__('os').getcwd()",
        "eval({col})",
        "'a' if {col} else 'b'",
        "show_email({col}); 'x'",
        r"'\d'",
        "(" * 5000,
        "show_email({col}",
    ],
)
def test_unsupported_expression_is_refused(expression):
    with pytest.raises(PolicyError):
        compile_mask(MaskKind.CUSTOM, expression)


def test_expression_of_type_without_expression_is_refused():
    with pytest.raises(PolicyError, match="takes no valueExpr"):
        compile_mask(MaskKind.MASK, EMAIL)
