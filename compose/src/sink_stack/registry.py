"""The schema registry: Apicurio with a file for its database, speaking Confluent's API."""

import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

from . import java
from .layout import Layout
from .processes import Command
from .settings import Settings

# Written at once: an id that a crash forgets is given to another schema, and records that carry it
# would be decoded as something else.
_DATABASE = "schemas;WRITE_DELAY=0"


class Registry:
    """The registry of one stack home."""

    def __init__(self, layout: Layout, settings: Settings, java: Path, program: Path) -> None:
        self._layout = layout
        self._settings = settings
        self._java = java
        self._program = program

    def command(self) -> Command:
        argv = [str(self._java), "-Xms64m", "-Xmx256m", "-XX:+UseSerialGC"]
        argv += java.keep_classes(self._program)
        argv += ["-XX:TieredStopAtLevel=1", "-jar", str(self._program / "quarkus-run.jar")]
        return Command(name="registry", argv=argv, cwd=self._layout.home, env=self._env())

    def ready(self) -> bool:
        url = f"{self._settings.registry}/apis/ccompat/v7/subjects"
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310
                return True
        except urllib.error.HTTPError as answer:
            return answer.code == HTTPStatus.UNAUTHORIZED  # it is up, and demands a login
        except (urllib.error.URLError, OSError):
            return False

    def _env(self) -> dict[str, str]:
        return {
            "QUARKUS_HTTP_HOST": "127.0.0.1",
            "QUARKUS_HTTP_PORT": str(self._settings.port("registry")),
            "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
            # It would listen on every interface otherwise.
            "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
            "QUARKUS_MANAGEMENT_PORT": str(self._settings.port("registry_management")),
            "APICURIO_STORAGE_KIND": "sql",
            "APICURIO_STORAGE_SQL_KIND": "h2",
            "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{self._layout.home}/registry/{_DATABASE}",
            "APICURIO_DATASOURCE_USERNAME": "sa",
            "APICURIO_DATASOURCE_PASSWORD": "sa",
        }
