"""Apache Ranger's own policy engine: fetched, compiled against and asked."""

import fcntl
import hashlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sink_stack import envfile, layout
from sink_stack.maven import Artifact, Maven
from sink_stack.programs import Installer
from sink_stack.progress import Reporter

HERE = Path(__file__).parent
SOURCES = ("Oracle.java", "Poll.java")
SECONDS = 120
# Recurrences aside, which nobody uses here, only the zone decides what the engine makes of a time.
JVM = ("-Duser.timezone=UTC", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m")


@dataclass(frozen=True)
class Request:
    """Who asks for which column."""

    resource: tuple[str, str, str, str]
    user: str | None = None
    groups: frozenset[str] = frozenset()
    time: str | None = None

    def record(self) -> dict[str, Any]:
        levels = dict(zip(("database", "schema", "table", "column"), self.resource, strict=True))
        groups = sorted(self.groups)
        return {"resource": levels, "user": self.user, "groups": groups, "time": self.time}


@dataclass(frozen=True)
class Decision:
    """What an engine says of a request."""

    kind: str | None = None
    expression: str | None = None
    policy_id: int = -1
    policy_version: int | None = None


@dataclass(frozen=True)
class Suite:
    """One set of policies, in the form that plugins download, and what is asked of it."""

    policies: Mapping[str, Any]
    requests: Sequence[Request] = field(default_factory=tuple)


@dataclass(frozen=True)
class Ranger:
    """The engine's jars and our two programs for it."""

    java: Path
    classes: Path
    jars: Path

    def decide(self, suites: Sequence[Suite], folder: Path) -> list[list[Decision]]:
        """What Ranger decides, for each suite and request."""
        path = folder / "suites.json"
        content = [
            {"policies": suite.policies, "requests": [asked.record() for asked in suite.requests]}
            for suite in suites
        ]
        path.write_text(json.dumps(content))
        told = subprocess.run(
            self.command("Oracle", str(path)),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert told.returncode == 0, told.stderr[-4000:]
        answers = iter([_decision(json.loads(line)) for line in told.stdout.splitlines()])
        return [[next(answers) for _ in suite.requests] for suite in suites]

    def command(self, program: str, *arguments: str) -> list[str]:
        path = os.pathsep.join([str(self.classes), f"{self.jars}/*"])
        logging = f"-Dlog4j.configuration=file:{HERE / 'log4j.properties'}"
        return [str(self.java), *JVM, logging, "-cp", path, program, *arguments]


def _decision(answer: Mapping[str, Any]) -> Decision:
    return Decision(
        kind=answer["maskType"],
        expression=answer["maskedValue"] if answer["maskType"] == "CUSTOM" else None,
        policy_id=answer["policyId"],
        policy_version=answer["policyVersion"],
    )


def installed() -> Ranger:
    """The engine, fetched and compiled once into the cache that all stacks share."""
    found = layout.find(os.environ)
    found.make()
    versions = envfile.load(found.root / "compose" / "versions.env")
    programs = Installer(found, versions, os.environ).install(Reporter())
    maven = Maven(
        repository=found.cache / "m2",
        plugin_version=versions["MAVEN_DEPENDENCY_PLUGIN_VERSION"],
        checksums=found.checksums,
        log=found.log("install"),
    )
    version = versions["RANGER_VERSION"]
    sources = [HERE / name for name in SOURCES]
    digest = hashlib.sha256(b"".join(map(Path.read_bytes, sources)) + version.encode()).hexdigest()
    jars = found.programs / f"ranger-{version}"
    classes = found.programs / f"ranger-oracle-{digest[:12]}"
    with (found.cache / "ranger.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.exists():
            part = jars.with_name(jars.name + ".part")
            engine = Artifact("org.apache.ranger", "ranger-plugins-common", version)
            maven.copy_with_dependencies([engine], part)
            part.rename(jars)
        if not classes.exists():
            ecj = maven.get(Artifact("org.eclipse.jdt", "ecj", versions["ECJ_VERSION"]))
            _compile(programs.java, ecj, jars, sources, classes)
    return Ranger(java=programs.java, classes=classes, jars=jars)


def _compile(java: Path, ecj: Path, jars: Path, sources: Sequence[Path], target: Path) -> None:
    """With Eclipse's compiler: it needs a Java runtime only, no JDK."""
    part = target.with_name(target.name + ".part")
    libraries = os.pathsep.join(map(str, sorted(jars.glob("*.jar"))))
    command = [str(java), "-jar", str(ecj), "-proc:none", "-nowarn", "-source", "17"]
    command += ["-target", "17", "-cp", libraries, "-d", str(part), *map(str, sources)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    part.rename(target)
