"""The search finds each encoding of a secret, in bytes and in files."""

import base64
import hashlib
from pathlib import Path

import pytest

from ...chaos.search import Search, encode

SECRET = "991122334455"


@pytest.fixture
def search() -> Search:
    return Search({"number": SECRET})


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc"])
@pytest.mark.parametrize("after", [b"", b"y", b"yz"])
def test_value_inside_base64_is_found(search: Search, before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(before + SECRET.encode() + after)
    assert search.find_in_bytes("here", encoded)


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
def test_each_encoding_is_found(search: Search, content: bytes) -> None:
    assert search.find_in_bytes("here", content)


def test_masked_value_is_not_found(search: Search) -> None:
    assert not search.find_in_bytes("here", b"****-****-4455 and 99112233")


def test_encodings_are_at_least_as_long() -> None:
    """A short text would be found by chance."""
    assert min(map(len, encode(SECRET).values())) >= len(SECRET)


def test_planted_file_is_found_unless_excluded(search: Search, tmp_path: Path) -> None:
    for name in ("logs/a.log", "data/b"):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(f"x{SECRET}x")
    assert [finding.place for finding in search.find_in_files(tmp_path, excluded=["data"])] == [
        "logs/a.log"
    ]
