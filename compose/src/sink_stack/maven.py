"""Fetches jars and archives by their coordinates, with Maven."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.request import Request, urlopen

from .checksums import verify
from .errors import StackError
from .progress import PARTIAL

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>
<packaging>pom</packaging>
<dependencies>{dependencies}</dependencies>
</project>
"""
_DOWNLOADING = re.compile(r"Downloading from \S+: (\S+)")


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of a Maven repository."""

    group: str
    name: str
    version: str
    extension: str = "jar"
    classifier: str = ""

    @property
    def coordinates(self) -> str:
        """The form that `dependency:get` expects."""
        parts = [self.group, self.name, self.version, self.extension, self.classifier]
        return ":".join(part for part in parts if part)

    @property
    def folder(self) -> Path:
        return Path(*self.group.split("."), self.name, self.version)

    @property
    def path(self) -> Path:
        """Inside a repository."""
        suffix = f"-{self.classifier}" if self.classifier else ""
        return self.folder / f"{self.name}-{self.version}{suffix}.{self.extension}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Maven:
    """Maven with a local repository of its own; the user's stays unchanged."""

    repository: Path
    plugin_version: str
    checksums: Path
    log: Path

    def get(self, artifact: Artifact) -> Path:
        """Fetch one artifact without what it depends on."""
        path = self.repository / artifact.path
        if not path.exists() and not self._resume(path):
            self._run("get", f"-Dartifact={artifact.coordinates}", "-Dtransitive=false")
        verify([path], self.checksums, self.repository)
        return path

    def copy_with_dependencies(self, artifacts: Sequence[Artifact], target: Path) -> None:
        """Fetch artifacts and all that they need at run time into a folder."""
        target.mkdir(parents=True, exist_ok=True)
        pom = target / "pom.xml"
        pom.write_text(_pom(Artifact("sink-stack", target.name, "1"), artifacts), encoding="utf-8")
        self._run(
            "copy-dependencies",
            "-f",
            str(pom),
            "-DincludeScope=runtime",
            f"-DoutputDirectory={target}",
        )
        verify(sorted(target.glob("*.jar")), self.checksums, self.repository)

    def stub_parent(self, artifact: Artifact) -> None:
        """Put an empty parent in place where a registry has the archive but not its parent."""
        path = self.repository / artifact.folder / f"{artifact.name}-{artifact.version}.pom"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_pom(artifact, ()), encoding="utf-8")

    def _resume(self, path: Path) -> bool:
        """Complete a download that was interrupted: Maven itself would begin again.

        Maven's log states where the file comes from.  False leaves it to Maven.
        """
        parts = path.parent.glob(f"{path.name}.*")
        begun = [one for one in parts if PARTIAL.sub("", one.name) == path.name]
        url = self._origin(path.name)
        if not begun or url is None:
            return False
        part = max(begun, key=lambda one: one.stat().st_size)
        there = {"Range": f"bytes={part.stat().st_size}-"}
        try:
            with urlopen(Request(url, headers=there), timeout=60) as answer:  # noqa: S310
                whole = int(answer.headers.get("Content-Range", "0").rpartition("/")[2])
                if answer.status == HTTPStatus.PARTIAL_CONTENT:
                    with part.open("ab") as stream:
                        shutil.copyfileobj(answer, stream)
        except OSError:
            return False
        if part.stat().st_size != whole:
            return False
        part.rename(path)
        return True

    def _origin(self, name: str) -> str | None:
        if not self.log.exists():
            return None
        found = _DOWNLOADING.findall(self.log.read_text(encoding="utf-8", errors="replace"))
        return next((url for url in reversed(found) if url.endswith(f"/{name}")), None)

    def _run(self, goal: str, *arguments: str) -> None:
        plugin = f"org.apache.maven.plugins:maven-dependency-plugin:{self.plugin_version}"
        command = ["mvn", "-B", f"-Dmaven.repo.local={self.repository}"]
        command += [f"{plugin}:{goal}", *arguments]
        with self.log.open("ab") as stream:
            code = subprocess.run(
                command,
                stdout=stream,
                stderr=stream,
                cwd=self.repository,
                check=False,
            ).returncode
        if code:
            raise StackError(f"Maven could not fetch {arguments[0]}: see {self.log}")


def _pom(project: Artifact, dependencies: Sequence[Artifact]) -> str:
    return _POM.format(
        group=project.group,
        artifact=project.name,
        version=project.version,
        dependencies="".join(
            f"<dependency><groupId>{one.group}</groupId><artifactId>{one.name}</artifactId>"
            f"<version>{one.version}</version></dependency>"
            for one in dependencies
        ),
    )
