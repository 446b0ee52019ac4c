"""The search finds what is there: each form, in each kind of place."""

import base64
import hashlib
from pathlib import Path

import pytest

from ...chaos.search import Search, forms

SECRET = "991122334455"


@pytest.fixture
def search() -> Search:
    return Search({"number": SECRET})


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc"])
@pytest.mark.parametrize("after", [b"", b"y", b"yz"])
def test_a_value_inside_of_base64_is_found(search: Search, before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(before + SECRET.encode() + after)
    assert search.in_bytes("here", encoded)


@pytest.mark.parametrize(
    "content",
    [
        b"for 991122334455.",
        b"9911-2233-4455",
        b"9911 2233 4455",
        SECRET.encode().hex().encode(),
        SECRET.encode("utf-16"),
        hashlib.sha256(SECRET.encode()).hexdigest().encode(),
    ],
)
def test_each_form_is_found(search: Search, content: bytes) -> None:
    assert search.in_bytes("here", content)


def test_a_masked_value_is_none(search: Search) -> None:
    assert not search.in_bytes("here", b"****-****-4455 and 99112233")


def test_no_form_is_empty_or_short() -> None:
    """A short needle would be found anywhere."""
    assert min(map(len, forms(SECRET).values())) >= len(SECRET)


def test_planted_file_is_found_unless_excluded(search: Search, tmp_path: Path) -> None:
    for name in ("logs/a.log", "data/b"):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(f"x{SECRET}x")
    assert [one.where for one in search.in_files(tmp_path, without=["data"])] == ["logs/a.log"]
