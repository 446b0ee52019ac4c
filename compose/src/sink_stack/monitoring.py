"""Prometheus and Alertmanager as parts of the stack, from Debian's packages, on the loopback."""

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import apt
from .errors import PartDiedError
from .layout import Layout
from .processes import Command, Supervisor
from .programs import fill_folder, locked
from .progress import Reporter
from .settings import Settings

PARTS = ("prometheus", "alertmanager")
FOLDER = Path("compose", "monitoring")
RULES = Path("sink_runner", "health", "alerts.yml")
VERSIONS = {name: f"{name.upper()}_VERSION" for name in PARTS}
_PACKAGES = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}
_MEGABYTES = 30
# Debian's builds have the path of their templates in them.  A path of the same length that is
# relative to the folder of the package lets them run where nothing is installed.
_SHARED = b"/usr/share/prometheus/"
_SHARED_RELATIVE = b"usr/share/prometheus//"
_READY_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Where the programs of both packages are."""

    prometheus: Path
    promtool: Path
    alertmanager: Path
    amtool: Path


def install(layout: Layout, versions: Mapping[str, str], reporter: Reporter) -> Programs:
    """Fetch and unpack the pinned packages if they are missing; the system's are not touched."""
    folders = {
        name: layout.programs / f"{name}-{versions[f'{name.upper()}_PACKAGE']}" for name in PARTS
    }
    if not all(folder.exists() for folder in folders.values()):
        layout.programs.mkdir(parents=True, exist_ok=True)
        with locked(layout.cache / "monitoring.lock"):
            _fetch(layout, versions, folders, reporter)
    prometheus, alertmanager = (folders[name] / "usr" / "bin" for name in PARTS)
    return Programs(
        prometheus=prometheus / "prometheus",
        promtool=prometheus / "promtool",
        alertmanager=alertmanager / "prometheus-alertmanager",
        amtool=alertmanager / "amtool",
    )


def _fetch(
    layout: Layout, versions: Mapping[str, str], folders: Mapping[str, Path], reporter: Reporter
) -> None:
    downloads = layout.cache / "packages"
    downloads.mkdir(exist_ok=True)
    missing = [name for name, folder in folders.items() if not folder.exists()]
    with reporter.downloading("fetching Prometheus and Alertmanager", downloads, _MEGABYTES):
        for name in missing:
            package = apt.Package(_PACKAGES[name], versions[f"{name.upper()}_PACKAGE"])
            source = apt.Source(downloads, layout.checksums, layout.log("install"))
            fill_folder(folders[name], partial(_unpack, package, source))


def _unpack(package: apt.Package, source: apt.Source, target: Path) -> None:
    apt.unpack(package, source, target)
    for program in target.glob("usr/bin/*"):
        program.write_bytes(program.read_bytes().replace(_SHARED, _SHARED_RELATIVE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """Both programs in one home, with the alert rules of sink-runner."""

    layout: Layout
    settings: Settings
    programs: Programs
    rules: Path
    alertmanager: Path
    """The configuration of Alertmanager."""
    scrape_interval: str = "5s"

    def up(self, supervisor: Supervisor, reporter: Reporter) -> None:
        """Start what does not run or is outdated, and wait until both answer."""
        self._config.write_text(self.prometheus_config(), encoding="utf-8")
        started = [one.name for one in self.commands() if supervisor.ensure(one)]
        try:
            for name in started:
                supervisor.wait_until(name, partial(self._ready, name), _READY_SECONDS)
                reporter.step(f"{name} is up at {self.url(name)}")
        except PartDiedError:
            supervisor.stop(*started)
            raise
        if not started:
            reporter.step("Prometheus and Alertmanager are up, with the current configuration")

    def commands(self) -> list[Command]:
        data = self.layout.home / "monitoring"
        argv = {
            "alertmanager": [
                str(self.programs.alertmanager),
                f"--config.file={self.alertmanager}",
                f"--storage.path={data / 'alertmanager'}",
                "--cluster.listen-address=",  # it would listen on every interface otherwise
            ],
            "prometheus": [
                str(self.programs.prometheus),
                f"--config.file={self._config}",
                f"--storage.tsdb.path={data / 'prometheus'}",
            ],
        }
        files = {
            "alertmanager": (self.alertmanager,),
            "prometheus": (self._config, self.rules),
        }
        return [
            Command(
                name=name,
                argv=[*words, f"--web.listen-address=127.0.0.1:{self.settings.port(name)}"],
                cwd=getattr(self.programs, name).parents[2],
                watched_files=files[name],
            )
            for name, words in argv.items()
        ]

    def prometheus_config(self) -> str:
        """The file of the containers with this home's addresses."""
        text = (self.layout.root / FOLDER / "prometheus.yml").read_text(encoding="utf-8")
        for there, here in {
            "/etc/prometheus/alerts.yml": str(self.rules),
            "alertmanager:9093": f"127.0.0.1:{self.settings.port('alertmanager')}",
            "runner:8080": f"127.0.0.1:{self.settings.port('health')}",
            "interval: 5s": f"interval: {self.scrape_interval}",
        }.items():
            text = text.replace(there, here)
        return text

    def url(self, part: str) -> str:
        return f"http://127.0.0.1:{self.settings.port(part)}"

    @property
    def _config(self) -> Path:
        return self.layout.conf / "prometheus.yml"

    def _ready(self, part: str) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url(part)}/-/ready", timeout=2):  # noqa: S310 - our own address
                return True
        except OSError:
            return False
