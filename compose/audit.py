"""Compare locked Python packages with a copy of PyPA's advisory database, without the network.

    make audit ADVISORIES=advisory-database

Exit code 1: a locked version has a known vulnerability; 2: the folder holds no advisories.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name
from packaging.version import Version

_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)", re.MULTILINE)


def find_known(advisories: Path, files: Sequence[Path]) -> Iterator[str]:
    """Yield a line for each advisory that is about a version that one of the files pins."""
    pins = {(canonicalize_name(n), v) for file in files for n, v in _PIN.findall(file.read_text())}
    for name, version in sorted(pins):
        for path in sorted((advisories / "vulns" / name).glob("*.yaml")):
            advisory = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
            if advisory.get("withdrawn") is None and _is_affected(advisory, Version(version)):
                known_as = [advisory["id"], *advisory.get("aliases", ())]
                yield f"{name} {version}: {', '.join(known_as)}"


def _is_affected(advisory: Mapping[str, Any], version: Version) -> bool:
    return any(
        str(version) in map(str, package.get("versions") or ())
        or any(
            _is_in_range(events["events"], version)
            for events in package.get("ranges") or ()
            if events["type"] == "ECOSYSTEM"
        )
        for package in advisory.get("affected") or ()
    )


def _is_in_range(events: Sequence[Mapping[str, Any]], version: Version) -> bool:
    """Whether the last event at or before the version introduces the fault (OSV's rule)."""
    affected = False
    ordered = sorted(
        ((Version(str(at)), kind) for event in events for kind, at in event.items()),
        key=lambda event: (event[0], event[1] == "introduced"),
    )
    for at, kind in ordered:
        if at < version or (at == version and kind != "last_affected"):
            affected = kind == "introduced"
    return affected


def main() -> int:
    advisories, *files = map(Path, sys.argv[1:])
    if not (advisories / "vulns").is_dir():
        print(f"{advisories} has no folder vulns: expected a copy of pypa/advisory-database")
        return 2
    found = list(find_known(advisories, files))
    print("\n".join(found) or "no locked version has an advisory in this copy")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
