"""Causes the condition of each alert, and prints when Alertmanager had it and when it was over.

Run `make drill`, or `make drill ALERT=SinkLate,SinkBatchLate` for some of them.
"""

import argparse
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass

import yaml
from rich.console import Console
from rich.table import Table
from sink_stack import monitoring

from ..support.pages import ROOT
from .batch_conditions import BATCH_CONDITIONS
from .capture_conditions import CAPTURE_CONDITIONS
from .condition import Condition
from .dead_letter_conditions import DEAD_LETTER_CONDITIONS
from .mapping_conditions import MAPPING_CONDITIONS
from .reconcile_conditions import RECONCILE_CONDITIONS
from .rules import FACTOR
from .site import Site, open_site, wait_until

CONDITIONS = {
    condition.alert: condition
    for condition in (
        *MAPPING_CONDITIONS,
        *DEAD_LETTER_CONDITIONS,
        *CAPTURE_CONDITIONS,
        *BATCH_CONDITIONS,
        *RECONCILE_CONDITIONS,
    )
}
_QUIET_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Result:
    """When an alert fired and cleared, in seconds after its cause began and was removed."""

    alert: str
    cause: str
    fired: float | None = None
    cleared: float | None = None


def known_alerts() -> list[str]:
    """Return the names of all alerts, in the order of the rules."""
    rules = yaml.safe_load((ROOT / monitoring.RULES).read_text(encoding="utf-8"))
    return [rule["alert"] for group in rules["groups"] for rule in group["rules"]]


def drill(site: Site, condition: Condition) -> Result:
    """Cause one alert and end it."""
    fired = cleared = None

    def is_active() -> bool:
        return site.is_active(condition.alert)

    try:
        wait_until(lambda: not is_active(), _QUIET_SECONDS)
        with condition.cause(site) as repeat:
            # A cause is removed even if the alert does not fire, for the sake of the other alerts.
            with suppress(TimeoutError):
                fired = wait_until(lambda: (repeat(), is_active())[1], condition.seconds)
            removed = time.monotonic()
        wait_until(lambda: not is_active(), condition.seconds)
        cleared = time.monotonic() - removed
    except Exception:  # noqa: BLE001 - the other alerts are drilled all the same
        traceback.print_exc()
    return Result(condition.alert, condition.text, fired, cleared)


def print_table(results: list[Result]) -> None:
    table = Table("alert", "cause", "fired after", "cleared after")
    for one in results:
        times = ("never" if at is None else f"{at:.1f} s" for at in (one.fired, one.cleared))
        table.add_row(one.alert, one.cause, *times)
    Console(width=140).print(f"Durations of the rules divided by {FACTOR}", table)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drill", description=__doc__)
    parser.add_argument("alerts", nargs="*", help="the alerts to drill; default: all")
    alerts = [name for text in parser.parse_args().alerts for name in text.split(",") if name]
    unknown = sorted(set(alerts) - CONDITIONS.keys())
    if unknown:
        parser.error(f"unknown alert {', '.join(unknown)}; known: {', '.join(known_alerts())}")
    with open_site() as site:
        results = []
        names = alerts or known_alerts()
        for prepare in (CONDITIONS[name].prepare for name in names):
            if prepare:
                prepare(site)
        for name in names:
            results.append(drill(site, CONDITIONS[name]))
            print(results[-1], flush=True)
    print_table(results)
    return int(any(None in (one.fired, one.cleared) for one in results))


if __name__ == "__main__":
    sys.exit(main())
