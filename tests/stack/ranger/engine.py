"""Installs Apache Ranger's policy engine and queries its decisions."""

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
# The engine evaluates validity schedules in the JVM's time zone.
JVM = ("-Duser.timezone=UTC", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m")


@dataclass(frozen=True)
class Request:
    """A request of a user with groups for a column."""

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
    """The decision of an engine for a request."""

    kind: str | None = None
    expression: str | None = None
    policy_id: int = -1
    policy_version: int | None = None


@dataclass(frozen=True)
class Suite:
    """A set of policies, in the format that plugins download, and requests for its decisions."""

    policies: Mapping[str, Any]
    requests: Sequence[Request] = field(default_factory=tuple)


@dataclass(frozen=True)
class Ranger:
    """The engine's JAR files and the two compiled programs that use it."""

    java: Path
    classes: Path
    jars: Path

    def decide(self, suites: Sequence[Suite], folder: Path) -> list[list[Decision]]:
        """Return Ranger's decision for each suite and request."""
        path = folder / "suites.json"
        content = [
            {
                "policies": suite.policies,
                "requests": [request.record() for request in suite.requests],
            }
            for suite in suites
        ]
        path.write_text(json.dumps(content))
        run = subprocess.run(
            self.command("Oracle", str(path)),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert run.returncode == 0, run.stderr[-4000:]
        answers = iter([_decision(json.loads(line)) for line in run.stdout.splitlines()])
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


def install() -> Ranger:
    """Download the engine and compile the programs, once, into the cache of all stacks."""
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
    """Compile with Eclipse's compiler, which needs only a Java runtime, not a JDK."""
    part = target.with_name(target.name + ".part")
    libraries = os.pathsep.join(map(str, sorted(jars.glob("*.jar"))))
    command = [str(java), "-jar", str(ecj), "-proc:none", "-nowarn", "-source", "17"]
    command += ["-target", "17", "-cp", libraries, "-d", str(part), *map(str, sources)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    part.rename(target)
