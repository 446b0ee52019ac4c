"""Debian packages are downloaded and unpacked without installing them."""

import hashlib

import pytest

from sink_stack import apt
from sink_stack.errors import StackError

PACKAGE = apt.Package("tool", "1.0-1")
FILE = "tool_1.0-1_amd64.deb"


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Programs `apt-get` and `dpkg-deb` that copy files; the update makes the package known."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {
        "apt-get": f'echo "$2" >> {tmp_path}/calls\n'
        f'case "$2" in update) touch {tmp_path}/known;; download)'
        f" if [ -e {tmp_path}/known ]; then cp {tmp_path}/package {FILE}; else exit 100; fi;; esac",
        "dpkg-deb": 'cp "$2" "$3"/',
    }
    for name, script in scripts.items():
        program = folder / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    (tmp_path / "package").write_bytes(b"genuine")
    sums = tmp_path / "checksums.txt"
    sums.write_text(f"{hashlib.sha256(b'genuine').hexdigest()}  {FILE}\n")
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    (tmp_path / "target").mkdir()
    return apt.Source(downloads, sums, tmp_path / "log")


def test_package_is_unpacked_and_archive_dropped(source, tmp_path):
    (tmp_path / "known").touch()
    apt.unpack(PACKAGE, source, tmp_path / "target")
    assert (tmp_path / "target" / FILE).read_bytes() == b"genuine"
    assert not list(source.downloads.iterdir())
    assert (tmp_path / "calls").read_text().split() == ["download"]


def test_old_package_lists_are_updated_once(source, tmp_path):
    apt.unpack(PACKAGE, source, tmp_path / "target")
    assert (tmp_path / "calls").read_text().split() == ["download", "update", "download"]


def test_tampered_package_is_refused_and_deleted(source, tmp_path):
    (tmp_path / "known").touch()
    (tmp_path / "package").write_bytes(b"tampered")
    with pytest.raises(StackError, match=r"has the SHA-256 sum .* was deleted"):
        apt.unpack(PACKAGE, source, tmp_path / "target")
    assert not list(source.downloads.iterdir())
    assert not list((tmp_path / "target").iterdir())


def test_unavailable_version_is_refused_with_advice(source, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match=r"tool 1\.0-1 .*STACK=compose make monitoring"):
        apt.unpack(PACKAGE, source, tmp_path / "target")
