"""Conditions of the runner and its mappings: down, paused, quarantined, late, old policies."""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..support import ranger_admin
from .condition import Condition, Repeat, once
from .rules import FACTOR
from .site import Site, wait_until

_CHANGE = "UPDATE golden_records SET age = coalesce(age, 0) + 1"
_LOCK = "LOCK TABLE profile_data IN ACCESS EXCLUSIVE MODE"
_LOAD = "UPDATE forecast.benefit_forecasts SET generated_at = localtimestamp"
_LOCK_SECONDS = 12
_LOAD_SECONDS = 60
_DAY_SECONDS = 86_400 / FACTOR
_POLICY_AGE_SECONDS = 7200
_POLICIES = re.compile(r"(?<=^\[policies\]\n).*?(?=^\[)", re.DOTALL | re.MULTILINE)

_LET_HOURS_PASS = """UPDATE sink.mapping_control
SET changed_at = changed_at - interval '2 hours'"""


@contextmanager
def stop_runner(site: Site) -> Iterator[Repeat]:
    site.stack.stop("runner")
    yield once
    site.start_runner()


@contextmanager
def lock_target(site: Site) -> Iterator[Repeat]:
    with site.stack.admin("smart_citizen") as session, session.transaction():
        session.execute(_LOCK)
        site.warehouse.execute(_CHANGE)
        yield once


@contextmanager
def lock_target_repeatedly(site: Site) -> Iterator[Repeat]:
    def hold() -> None:
        with lock_target(site):
            time.sleep(_LOCK_SECONDS)
        with suppress(TimeoutError):
            wait_until(lambda: site.is_active("SinkLatencyHigh"), 5)

    yield hold


@contextmanager
def rename_target(site: Site) -> Iterator[Repeat]:
    site.warehouse.execute("ALTER TABLE document_metadata RENAME TO renamed")
    site.citizen.execute(
        "INSERT INTO documents (document_type, file_path) VALUES ('INCOME', '/drill')"
    )
    yield once
    site.warehouse.execute("ALTER TABLE renamed RENAME TO document_metadata")


@contextmanager
def lose_ranger(site: Site) -> Iterator[Repeat]:
    """Start a runner whose policies are two hours old, and whose Ranger Admin does not answer."""
    folder = site.folder / "old-policies"
    shutil.copytree(site.config.parent / "ranger-policies", folder)
    file = folder / "policies.json"
    os.utime(file, (time.time() - _POLICY_AGE_SECONDS,) * 2)
    with ranger_admin.admin() as admin:
        admin.failure_status = 503
        site.start_runner(_with_ranger(site, folder, admin.url))
        yield once
        found = json.loads(file.read_text(encoding="utf-8"))
        definition = json.loads((folder / "servicedef-sink.json").read_text(encoding="utf-8"))
        admin.add_service(found["serviceName"], definition)
        admin.policies[:], admin.version = found["policies"], found["policyVersion"]
        admin.failure_status = 0
        wait_until(lambda: not site.is_active("SinkPoliciesOld"), 60)
    site.start_runner()


def _with_ranger(site: Site, folder: Path, url: str) -> Path:
    settings = f'directory = "{folder}"\nadmin = "{url}"\nrefresh_seconds = 1\n'
    settings += "max_age_seconds = 86400\n"
    path = site.config.with_name("ranger.toml")
    path.write_text(_POLICIES.sub(settings, site.config.read_text(encoding="utf-8"), count=1))
    return path


def make_volume(site: Site) -> None:
    """Change rows for as long as the hour of the day before lasts in the drill, twice over."""
    end = time.monotonic() + _LOAD_SECONDS
    while time.monotonic() < end:
        site.warehouse.execute(_LOAD)
        time.sleep(0.2)
    site.volume_ended = time.monotonic()


@contextmanager
def end_volume(site: Site) -> Iterator[Repeat]:
    """Wait until the volume is a day old, with no further changes."""
    time.sleep(max(0.0, site.volume_ended + _DAY_SECONDS - _LOAD_SECONDS / 2 - time.monotonic()))
    yield once
    make_volume(site)


@contextmanager
def forget_pause(site: Site) -> Iterator[Repeat]:
    site.run("pause", "schemes", "--reason", "a drill")
    site.citizen.execute(_LET_HOURS_PASS)
    yield once
    site.run("resume", "schemes")


MAPPING_CONDITIONS = (
    Condition(
        alert="SinkPausedByOperator",
        text="a pause by a person is moved back by two hours",
        cause=forget_pause,
    ),
    Condition(alert="SinkRunnerDown", text="the runner is stopped", cause=stop_runner),
    Condition(alert="SinkMappingPaused", text="a target table is locked", cause=lock_target),
    Condition(
        alert="SinkMappingQuarantined",
        text="a target table is renamed",
        cause=rename_target,
        seconds=150,
    ),
    Condition(
        alert="SinkLate", text="a target table is locked for 60 s", cause=lock_target, seconds=150
    ),
    Condition(
        alert="SinkVeryLate",
        text="a target table is locked for 300 s",
        cause=lock_target,
        seconds=420,
    ),
    Condition(
        alert="SinkLatencyHigh",
        text="a target table is locked for 12 s, several times",
        cause=lock_target_repeatedly,
    ),
    Condition(
        alert="SinkPoliciesOld",
        text="Ranger Admin answers 503, and the policies are two hours old",
        cause=lose_ranger,
    ),
    Condition(
        alert="SinkVolumeDrop",
        text="a source table is not changed any more",
        cause=end_volume,
        prepare=make_volume,
    ),
)
