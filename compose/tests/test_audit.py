"""Locked versions are compared with advisories in the format of PyPA's database."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ADVISORY = """
id: PYSEC-2023-192
aliases: [CVE-2023-43804]
affected:
- package: {ecosystem: PyPI, name: urllib3}
  ranges:
  - {type: GIT, events: [{introduced: "0"}, {fixed: 0122035}]}
  - type: ECOSYSTEM
    events: [{introduced: 2.0.0}, {fixed: 2.0.6}, {introduced: "0"}, {fixed: 1.26.17}]
  versions: ["1.25", 3.1.0]
"""
LAST = """
id: PYSEC-1
affected:
- ranges: [{type: ECOSYSTEM, events: [{introduced: "0"}, {last_affected: "1.5"}]}]
"""


def audit(folder, *pins):
    requirements = folder / "requirements.txt"
    requirements.write_text("".join(f"{pin} \\\n    --hash=sha256:0\n" for pin in pins))
    command = [sys.executable, ROOT / "compose" / "audit.py", folder, requirements]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path):
    for name, text in (("urllib3", ADVISORY), ("my-tool", LAST)):
        path = tmp_path / "vulns" / name / "PYSEC.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    "pin",
    [
        *("urllib3==2.0.0", "urllib3==2.0.5", "urllib3==1.26.16", "urllib3==3.1.0"),
        *("My_Tool==1.5", "my.tool[extra]==0.1 ; sys_platform == 'win32'"),
    ],
)
def test_affected_version_is_found(folder, pin):
    done = audit(folder, "requests==2.0", pin)
    assert done.returncode == 1, done.stderr
    assert "PYSEC" in done.stdout


@pytest.mark.parametrize(
    "pin", ["urllib3==2.0.6", "urllib3==1.26.17", "urllib3==2.8.0", "my-tool==1.5.1", "other==1"]
)
def test_other_versions_are_not_reported(folder, pin):
    done = audit(folder, pin)
    assert done.returncode == 0, done.stdout + done.stderr


def test_withdrawn_advisory_does_not_count(folder):
    path = folder / "vulns" / "urllib3" / "PYSEC.yaml"
    path.write_text(path.read_text() + "withdrawn: 2024-01-01T00:00:00Z\n")
    assert audit(folder, "urllib3==2.0.0").returncode == 0


def test_folder_without_advisories_is_reported(tmp_path):
    done = audit(tmp_path, "urllib3==2.0.0")
    assert (done.returncode, "has no folder vulns" in done.stdout) == (2, True)
