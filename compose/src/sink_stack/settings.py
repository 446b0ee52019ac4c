"""The settings of one stack home: ports, passwords and keys, and what is derived from them."""

import base64
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import envfile, ports
from .layout import Layout

DATABASES = {"warehouse": "smart_warehouse", "citizen": "smart_citizen"}
_SHARED = (
    "SINK_DEAD_LETTER_KEY",
    "SINK_DEAD_LETTER_KEY_ID",
    "SINK_API_SECRET",
    "SINK_API_LOCAL_KEY",
    "SINK_API_LOCAL_KEY_HASH",
)
_SECRETS = ("ADMIN", "CAPTURE", "WRITER", "READER", "GRAFANA")


@dataclass(frozen=True, slots=True)
class Settings:
    """The variables of stack.env."""

    values: Mapping[str, str]

    def port(self, name: str) -> int:
        return int(self.values[f"STACK_PORT_{name.upper()}"])

    def database_port(self, database: str) -> int:
        """Return the cluster's port, or that of the server with the restored database."""
        return int(self.values.get(own_port(database)) or self.port("postgres"))

    def password(self, role: str) -> str:
        return self.values[f"STACK_PASSWORD_{role.upper()}"]

    def admin_dsn(self, database: str) -> str:
        return self._dsn("postgres", "admin", database)

    @property
    def kafka(self) -> str:
        return f"127.0.0.1:{self.port('kafka')}"

    @property
    def registry(self) -> str:
        return f"http://127.0.0.1:{self.port('registry')}"

    @property
    def console(self) -> str:
        """The address of the API's page that shows and controls the mappings."""
        return f"http://127.0.0.1:{self.port('api')}/console"

    def exported(self) -> dict[str, str]:
        """What programs that use the stack need, and nothing else."""
        exports = {"SINK_KAFKA": self.kafka, "SINK_REGISTRY": f"{self.registry}/apis/ccompat/v7"}
        for database in DATABASES.values():
            name = database.upper()
            exports[f"SINK_{name}_DSN"] = self._dsn("sink_writer", "writer", database)
            exports[f"SINK_{name}_READER_DSN"] = self._dsn("sink_reader", "reader", database)
            exports[f"STACK_{name}_ADMIN_DSN"] = self.admin_dsn(database)
        exports |= {name: self.values[name] for name in _SHARED}
        exports["SINK_API_PORT"] = self.values["STACK_PORT_API"]
        exports["SINK_HEALTH_PORT"] = self.values["STACK_PORT_HEALTH"]
        return exports

    def _dsn(self, user: str, role: str, database: str) -> str:
        port = self.database_port(database)
        return f"postgresql://{user}:{self.password(role)}@127.0.0.1:{port}/{database}"


def own_port(database: str) -> str:
    """The variable with the port of a restored database's server."""
    return f"STACK_RESTORED_{database.upper()}"


def load(layout: Layout) -> Settings | None:
    """The settings of a stack that was up before, or None."""
    return Settings(envfile.load(layout.settings)) if layout.settings.exists() else None


def prepare(
    layout: Layout, environ: Mapping[str, str], port_in_use_by_us: Callable[[str], bool]
) -> Settings:
    """Generate what is missing, choose ports for the parts that do not run, and save."""
    values = dict(envfile.load(layout.settings)) if layout.settings.exists() else {}
    for role in _SECRETS:
        values.setdefault(f"STACK_PASSWORD_{role}", secrets.token_urlsafe(24))
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    values.setdefault("SINK_DEAD_LETTER_KEY", key)
    values.setdefault("SINK_DEAD_LETTER_KEY_ID", "local-1")
    values.setdefault("SINK_API_SECRET", secrets.token_urlsafe(32))
    local = values.setdefault("SINK_API_LOCAL_KEY", f"sink_{secrets.token_urlsafe(32)}")
    values["SINK_API_LOCAL_KEY_HASH"] = _hash(values["SINK_API_SECRET"], local)
    taken: set[int] = set()
    for name in ports.PREFERRED:
        remembered = values.get(f"STACK_PORT_{name.upper()}")
        port = int(remembered) if remembered else None
        if port is None or not port_in_use_by_us(name):
            port = ports.choose(name, environ=environ, remembered=port, in_use=frozenset(taken))
        taken.add(port)
        values[f"STACK_PORT_{name.upper()}"] = str(port)
    settings = Settings(values)
    save(layout, settings)
    return settings


def save(layout: Layout, settings: Settings) -> None:
    """Write the settings, and the variables that are derived from them, if they changed."""
    values = {**settings.values, **exported(layout, settings)}
    if not layout.settings.exists() or envfile.load(layout.settings) != values:
        envfile.save(layout.settings, values)


def exported(layout: Layout, settings: Settings) -> dict[str, str]:
    """What programs that use this home's stack need."""
    return {**settings.exported(), "SINK_CAPTURE": str(layout.capture)}


def remember(layout: Layout, settings: Settings, **fresh: str) -> Settings:
    """Add values to the settings, and save them."""
    changed = Settings({**settings.values, **fresh})
    save(layout, changed)
    return changed


def _hash(secret: str, key: str) -> str:
    """Return the hash by which the API recognises a key, as `sink-runner api-key new` prints it."""
    parts = (b"api-key", key.encode())
    content = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return "hmac-sha256:" + hmac.digest(secret.encode(), content, "sha256").hex()
