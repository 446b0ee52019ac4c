"""The folders of the stack: the repository, the home of one stack, the shared cache."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import StackError


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The three folders, and the paths inside them."""

    root: Path
    home: Path
    cache: Path

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def run(self) -> Path:
        """Pid files."""
        return self.home / "run"

    @property
    def conf(self) -> Path:
        """Generated configuration; the files that people edit are in the repository."""
        return self.home / "conf"

    @property
    def capture(self) -> Path:
        """The properties that Debezium is started with."""
        return self.conf / "debezium"

    @property
    def settings(self) -> Path:
        return self.home / "stack.env"

    @property
    def programs(self) -> Path:
        return self.cache / "programs"

    @property
    def sql(self) -> Path:
        return self.root / "compose" / "sql"

    @property
    def checksums(self) -> Path:
        """The SHA-256 sums of everything that Maven fetches."""
        return self.root / "compose" / "checksums.txt"

    @property
    def topics(self) -> Path:
        return self.root / "compose" / "topics.toml"

    @property
    def debezium(self) -> Path:
        return self.root / "debezium-config"

    def log(self, part: str) -> Path:
        return self.logs / f"{part}.log"

    def make(self) -> None:
        """Create the folders of the home."""
        for folder in (self.home, self.logs, self.run, self.conf):
            folder.mkdir(parents=True, exist_ok=True)


def find(environ: Mapping[str, str]) -> Layout:
    """Return the folders that the environment variables name; defaults replace missing ones."""
    root = _repository(environ)
    home = environ.get("SINK_STACK_HOME")
    cache = environ.get("SINK_STACK_CACHE")
    return Layout(
        root=root,
        home=Path(home).expanduser().absolute() if home else root / ".stack",
        cache=Path(cache).expanduser().absolute() if cache else _default_cache(),
    )


def _repository(environ: Mapping[str, str]) -> Path:
    root = environ.get("SINK_STACK_ROOT")
    here = Path(root).absolute() if root else Path(__file__).resolve().parents[3]
    if not (here / "compose" / "versions.env").is_file():
        raise StackError(
            f"no compose/versions.env under {here}: install sink-stack from the repository with"
            " `pip install -e compose`, or set SINK_STACK_ROOT to the repository"
        )
    return here


def _default_cache() -> Path:
    # PostgreSQL runs as another user when we are root, and must reach its programs.
    if os.geteuid() == 0:
        return Path("/var/cache/sink-runner")
    return Path.home() / ".cache" / "sink-runner"
