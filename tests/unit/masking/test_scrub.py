"""Scrubbing: personal data that is removed from free text, and text that is kept."""

import base64
import html
import itertools
import json
import re
import string
import time
import unicodedata
from datetime import datetime
from urllib.parse import quote, unquote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sink_runner.masking.scrub import scrub_contacts, scrub_contacts_and_income


def translate_digits(zero, text):
    """Replace the digits of the text by those of another script, whose zero is given."""
    return "".join(chr(zero + int(char)) if char in "0123456789" else char for char in text)


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
        # with separators
        "9876  1234   1234",
        "9876 - 1234 - 1234",
        "9 8 7 6 5 4 3 2 1 0",
        "98765\n43210",
        "9876.1234.1234",
        "9876_1234_1234",
        "9876/1234/1234",
        "98765,43210",
        "9876, 1234, 1234",
        "(98765) 43210",
        "(0141) 2345678",
        "98765*43210",
        "+91-98765-43210",
        "0091 98765 43210",
        "+91 (98765) 432-10",
        "98765:43210",
        "98765;43210",
        "9876:1234:1234",
        "98765\t43210",
        "98765: 43210",
        "987,654,3210",
        "98765          43210",
        "98765%2043210",
        "98765%43210",
        "9876$1234$1234",
        "98:76:12:34:12:34",
        # encoded
        "&#57;&#56;&#55;&#54;&#53;43210",
        "98765&nbsp;43210",
        "98765&#x20;&NBSP;43210",
        "&amp;#57;876543210",
        "%39876543210",
        "%2539%2538765%2520%2043210",
        "%E0%A5%AF%E0%A5%AE७६५४३२१" + "\u0966",
        r"\u0039\u00387654\u{33}210",
        r"\x398765\n\n43210",
        r"\ud835\udfd7876543210",
        "=39=38=37=36543210",
        "98765<b>432</b><br/>10",
        "OTg3NjU0MzIxMA==",
        "ravi%40example.in",
        "ravi%2540example%252Ein",
        "ravi&commat;example&period;in",
        "ravi&#64;example&#46;in",
        r"ravi\u0040example.in",
        "cmF2aUBleGFtcGxlLmlu",
        # in digits of other scripts
        "九八七六五四三二一〇",
        "玖捌柒陸伍肆參貳壹零",
        "९८७६ १२३४ १२३४",
        translate_digits(0xFF10, "9876543210"),
        translate_digits(0xFF10, "9876\uff0d1234\uff0d1234"),
        "98\u096d\u096c54\u0969\u096810",
        "٩٨٧٦٥٤٣٢١٠",
        translate_digits(0x1D7CE, "9876543210"),
        "⁹⁸⁷⁶⁵⁴³²¹⁰",
        "⑨⑧⑦⑥⑤④③②①⓪",
        "9️⃣8️⃣7️⃣6️⃣5️⃣4️⃣3️⃣2️⃣1️⃣0️⃣",
        # with invisible characters
        "98765\u200b43210",
        "9\u200d8\u200c7\u20606\ufeff5\u00ad43210",
        "98765" + "\u200b" * 50 + "43210",
        "98765\u00a043210",
        "98765\u202f43210",
        "98765\u280043210",
        "98765\u316443210",
        "98765\u221243210",
        # e-mails
        "ravi\u200b.kumar@exam\u200bple.in",
        "ravi\uff20example.in",
        "ravi\ufe6bexample\u3002in",
        "ravi @ example.in",
        "ravi@ example.in",
        "ravi @example . in",
        "ravi(at)example.in",
        "ravi [at] example [dot] in",
        "ravi {AT} example (dot) co (dot) in",
        "ravi at example dot co dot in",
        "ravi at the rate example.in",
        "रवि(at)उदाहरण.भारत",
        # with other blanks and line breaks
        "ravi at\tgmail dot com",
        "ravi\tat\tgmail\tdot\tcom",
        "ravi@\texample.com",
        "ravi\x0b@\x0cexample.com",
        "ravi@\nexample.com",
        "ravi@\r\nexample.com",
        "ravi\n@example.com",
        "ravi@example\n.com",
        "ravi@example.\ncom",
        "ravi at\ngmail dot com",
        "ravi\nat gmail\ndot\ncom",
        "ravi at the\nrate gmail.com",
        "ravi(at)\nexample(dot)com",
        "ravi@ gmail. com",
        "ravi@ gmail. co. in",
        "ravi(at) gmail .com",
        "ravi [at] gmail com",
        "ravi (at) gmail co in",
        "ravi at gmail com",
    ],
)
def test_numbers_and_emails_are_scrubbed_anywhere_in_text(secret):
    for text in (secret, f"call: {secret}, please", f"<{secret}>", f"नाम:{secret}।"):
        scrubbed = scrub_contacts(text)
        assert scrubbed.count("***MASKED***") == 1
        normalized = unicodedata.normalize("NFKC", scrubbed)
        assert not re.search(r"\d{3}|@|ravi|रवि|exam", normalized)
        assert sum(char.isdigit() for char in normalized) < 3
        assert scrub_contacts(scrubbed) == scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "You may get Rs 1,00,000 until 2026-01-31.",
        "Seen 2026-01-31 10:00:00, case APP-20260131-000042",
        "High priority; UNCERTAINTY is not a band. Ask for medium help.",
        "मध्यम",
        "Apply at jansoochna.example.gov.in, or at the camp. Dot the form.",
        "2026-01-31T10:00 and 2026-01-31, 10:00; 12-02-2026",
        "Camp from 10:00 to 17:00 on 12/02/2026 (ward 7)",
        "₹ 1,20,000 in 2 parts",
        "क्षेत्र ७ में १२ फरवरी २०२६",
        "Open 10:00:00 11:00:00 12:00:00",
        "Seen\t2026-01-31\t10:00:00;\n2026-02-01 10:00:00",
        "Come to the camp at\nthe school. Dot the form.",
        "Ward 12, 12-02-2026; block 4711: 2026-01-31T10:00:00.123456+05:30",
        "id 550e8400-e29b-41d4-a716-44665544000f, id F47AC10B-58CC-4372-A567-0E02B2C3D479.",
        "₹ 50,000; ₹ 1,00,000; ₹ 2,00,000",
        "100%25 of ward&nbsp;7 &amp; block 12; https://example.in/a?b=1%202&c=%41",
        "Look at the com port. https://example.in/documents/aadhaarcardscan/list",
    ],
)
def test_other_text_is_unchanged(text):
    assert scrub_contacts_and_income(text) == text


def test_sentence_after_email_is_kept():
    text = "Ask ravi@example.in. Then wait.\nOr ask ravi@example.in\nand wait."
    scrubbed = "Ask ***MASKED***. Then wait.\nOr ask ***MASKED***\nand wait."
    assert scrub_contacts(text) == scrubbed


@pytest.mark.parametrize(
    ("text", "scrubbed"),
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
def test_levels_are_scrubbed_only_beside_income(text, scrubbed):
    assert scrub_contacts_and_income(text) == scrubbed


def test_scrubbing_takes_linear_time():
    """Quadratic time would stall the runner; linear time is a fraction of a second."""
    start = time.process_time()
    units = (
        "a",
        "@",
        "a@",
        "1 ",
        "1",
        "very ",
        "income ",
        "a.",
        "-",
        "\u200b",
        "1\u200b",
        "1--------",
    )
    units += ("a at ", "a @ ", "a (at) b ", "a at b dot ", "at the rate ", "1234,", "१", "[")
    units += (
        "%",
        "%2",
        "%20",
        "%31",
        "&#5",
        "&#57;",
        "&a",
        "<a",
        "\\",
        "=39",
        "12:34 ",
        "A1",
        "b-",
    )
    units += ("12:34,5 ", "12-02-2026 ", "a@.", "a@b.@", "550e8400-e29b-41d4-", "   ", "1%", "a ")
    units += ("\n", "a\n", "a\nat\n", "a@b\n", "a@ b. ", "a@b.\n", "1234:", "1234 ;", "\t", "a@\t")
    for unit in units:
        scrub_contacts_and_income(unit * 20_000)
    assert time.process_time() - start < 5


# -- every script, separator and encoding --------------------------------------------------------

ZEROS = [
    code
    for code in range(0x110000)
    if unicodedata.category(chr(code)) == "Nd" and unicodedata.decimal(chr(code)) == 0
]
SCRIPTS = [
    *("".join(chr(zero + digit) for digit in range(10)) for zero in ZEROS),
    "〇一二三四五六七八九",
    "零壹貳參肆伍陸柒捌玖",
    "⓪①②③④⑤⑥⑦⑧⑨",
    "⁰¹²³⁴⁵⁶⁷⁸⁹",
]
SEPARATORS = [
    *(
        "",
        *string.punctuation,
        "  ",
        " " * 10,
        ", ",
        ": ",
        "; ",
        " - ",
        "\n",
        "\r\n",
        "\n\n",
        " / ",
    ),
    *(
        chr(code)
        for code in range(0x110000)
        if unicodedata.category(chr(code)) in ("Zs", "Zl", "Zp", "Pd", "Cf")
    ),
]
ENCODINGS = {
    "none": str,
    "percent": lambda text: quote(text, safe=""),
    "percent of all": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "percent twice": lambda text: quote(quote(text, safe=""), safe=""),
    "quoted-printable": lambda text: "".join(f"={byte:02X}" for byte in text.encode()),
    "entities": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "hexadecimal entities": lambda text: "".join(f"&#X{ord(char):X};" for char in text),
    "entities twice": lambda text: "".join(f"&amp;#{ord(char)};" for char in text),
    "html": html.escape,
    "json": lambda text: json.dumps(text)[1:-1],
    "json of all": lambda text: "".join(
        f"\\u{unit:04x}" for unit in memoryview(text.encode("utf-16-le")).cast("H")
    ),
    "base64": lambda text: base64.b64encode(f"text {text} ".encode()).decode(),
    "base64 of a url": lambda text: base64.urlsafe_b64encode(f"text {text} ".encode()).decode(),
}
GROUPS = ([4, 4, 4], [5, 5], [3, 3, 4], [2, 8], [12], [10], [1] * 10, [2] * 5, [2] * 6)
encodings = st.sampled_from(sorted(ENCODINGS))
contexts = st.tuples(
    st.sampled_from(["", "call ", "नाम ", "x:", "(", '{"a": "', "a=b&c=", "<b>", "ward 7, "]),
    st.sampled_from(["", " now", "।", ".", ")", '"}', "&d=e", "</b>"]),
)


@pytest.mark.parametrize("script", SCRIPTS, ids=ascii)
def test_number_is_scrubbed_in_each_script(script):
    for number in ("987612341234", "9876543210"):
        text = "".join(script[int(digit)] for digit in number)
        for encoded in {encode(text) for encode in ENCODINGS.values()}:
            assert scrub_contacts(f"call {encoded} now") == "call ***MASKED*** now"


@pytest.mark.parametrize("groups", GROUPS, ids=str)
def test_number_is_scrubbed_with_each_separator(groups):
    for separator in SEPARATORS:
        digits = iter("987612341234")
        text = separator.join("".join(itertools.islice(digits, count)) for count in groups)
        assert scrub_contacts(f"call {text} now") == "call ***MASKED*** now"


@settings(max_examples=500)
@given(
    number=st.from_regex("[6-9][0-9]{9}|[3-9][0-9]{11}", fullmatch=True),
    groups=st.sampled_from(GROUPS),
    script=st.sampled_from(SCRIPTS),
    separator=st.sampled_from(SEPARATORS),
    encoding=encodings,
    context=contexts,
)
def test_number_is_scrubbed_in_any_spelling(
    *, number, groups, script, separator, encoding, context
):
    digits = iter(number)
    parts = ["".join(itertools.islice(digits, count)) for count in groups]
    parts = [part for part in [*parts, "".join(digits)] if part]
    assume(not _reads_as_a_date_or_time(separator.join(parts)))
    text = separator.join(parts)
    text = "".join(script[int(char)] if char in "0123456789" else char for char in text)
    scrubbed = scrub_contacts(context[0] + ENCODINGS[encoding](text) + context[1])
    decoded = unicodedata.normalize("NFKC", html.unescape(unquote(scrubbed)))
    assert sum(char.isdigit() for char in decoded) < 2  # the digit of "ward 7"
    assert "***MASKED***" in scrubbed
    assert scrub_contacts(scrubbed) == scrubbed


def _reads_as_a_date_or_time(text):
    return re.search(r"[0-9]{2}:[0-9]{2}(?!:?[0-9])|[0-9]-[0-9]{2}-[0-9]|[0-9]{8}-", text)


@settings(max_examples=500)
@given(
    local=st.from_regex(r"qu[a-z0-9._]{0,9}[a-z]", fullmatch=True),
    at=st.sampled_from(["@", " @ ", "(at)", " [at] ", "{ AT }", "\uff20", "\u200b@\u200b"]),
    dot=st.sampled_from([".", " . ", "(dot)", " [dot] ", " dot ", "\u3002", "\uff0e", " "]),
    encoding=encodings,
    context=contexts,
)
def test_email_is_scrubbed_in_any_spelling(local, at, dot, encoding, context):
    text = f"{local}{at}quxmail{dot}org"
    scrubbed = scrub_contacts(context[0] + ENCODINGS[encoding](text) + context[1])
    assert "qu" not in html.unescape(unquote(scrubbed))
    assert "***MASKED***" in scrubbed
    assert scrub_contacts(scrubbed) == scrubbed


@given(value=st.uuids(version=4), at=st.datetimes(min_value=datetime(1990, 1, 1)))  # noqa: DTZ001
def test_uuids_and_times_are_kept(value, at):
    assume(not str(value)[-12:].isdecimal())
    text = f"event {value} at {at.isoformat()}, {at:%Y-%m-%d %H:%M:%S}, {at:%d/%m/%Y %H:%M}."
    assume(1990 <= at.year < 2100)
    assert scrub_contacts(text) == text


def test_number_within_uuid_is_scrubbed():
    assert "1234" not in scrub_contacts("id 00000000-0000-4000-8000-987612341234")


zeros = st.sampled_from([0x30, 0x660, 0x966, 0x9E6, 0xFF10, 0x1D7CE])
gaps = st.text("   -\u2013._/()\u200b\u200d\ufeff\u00a0", max_size=4)


@given(
    parts=st.lists(st.tuples(st.integers(0, 9), zeros, gaps), min_size=10, max_size=16),
    before=st.sampled_from(["", "call ", "नाम ", "x:"]),
)
def test_number_is_scrubbed_in_any_grouping(parts, before):
    """Time stamps and application numbers are exceptions: they begin with a year."""
    assume(parts[0][0] not in (1, 2))
    text = before + "".join(chr(zero + digit) + gap for digit, zero, gap in parts)
    assert not any(char.isdigit() for char in scrub_contacts(text))


@given(
    local=st.from_regex(r"[a-z][a-z0-9._]{0,9}[a-z]", fullmatch=True),
    at=st.sampled_from(["@", " @ ", "(at)", " [at] ", "{ AT }", "\uff20", "\u200b@\u200b"]),
    dot=st.sampled_from([".", " . ", "(dot)", " [dot] ", " dot ", "\u3002", "\uff0e"]),
)
def test_email_is_scrubbed_exactly(local, at, dot):
    scrubbed = scrub_contacts(f"write to {local}{at}quxmail{dot}org now")
    assert scrubbed == "write to ***MASKED*** now"
