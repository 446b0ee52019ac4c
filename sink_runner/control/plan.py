"""What a command would do to a mapping: printed first, then done."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import store
from .target import Target
from .way_out import RESUME


@dataclass(frozen=True, slots=True)
class Plan:
    """The effect of a command, as lines for a person, and the means to bring it about."""

    lines: Sequence[str]
    command: str
    """Its form on the command line."""
    apply: Callable[[str], str]
    """Carries it out in the name of this user; returns a sentence about the result."""


def plan_pause(target: Target, reason: str) -> Plan:
    name = target.name

    def apply(user: str) -> str:
        with target.session() as connection:
            is_new = store.pause(connection, name, target.mapping, reason=reason, by=user)
        return "paused" if is_new else "was paused already; its reason stays"

    return Plan(
        [
            f"every runner finishes its batch and writes nothing more to {target.mapping.target}",
            "dead letters to replay and scheduled batch runs wait as well, and the lag grows",
            f"reversible: {RESUME.format(mapping=name)}, before Kafka deletes the events that wait",
        ],
        f"sink-runner pause {name} --reason {shlex.quote(reason)}",
        apply,
    )


def plan_resume(target: Target) -> Plan:
    name = target.name

    def apply(user: str) -> str:
        with target.session() as connection:
            was_paused = store.resume(connection, name, target.mapping, by=user)
        return "resumed" if was_paused else "was not paused"

    return Plan(
        [
            "every runner continues at the stored offsets within two seconds",
            "a schedule that became due meanwhile runs once",
            "reversible: pause it again",
        ],
        RESUME.format(mapping=name),
        apply,
    )
