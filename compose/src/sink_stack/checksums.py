"""Compares downloaded files with the SHA-256 sums that compose/checksums.txt states."""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from .errors import StackError


def verify(files: Iterable[Path], sums: Path, repository: Path) -> None:
    """Raise StackError unless `sums` states each file's sum.

    A file that differs is deleted, and so is Maven's copy under `repository`: the next run fetches
    it again.
    `sums` has the form of `sha256sum`: a sum, two blanks, the file's name.
    """
    known = _read(sums)
    for file in files:
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if known.get(file.name) == found:
            continue
        for copy in (file, *repository.rglob(file.name)):
            copy.unlink(missing_ok=True)
        expected = known.get(file.name)
        if expected is None:
            raise StackError(
                f"{sums} has no sum for {file.name}, so the download was deleted: compare its sum"
                f" {found} with its publisher's, then add the line '{found}  {file.name}'"
            )
        raise StackError(
            f"{file.name} has the SHA-256 sum {found}, {sums} states {expected}: the download was"
            " deleted; run this again, and if it differs again do not use that mirror"
        )


@cache
def _read(sums: Path) -> dict[str, str]:
    pairs = (line.split() for line in sums.read_text(encoding="ascii").splitlines())
    return {name: digest for digest, name in pairs}
