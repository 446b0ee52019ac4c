"""The settings of ``[retention]``."""

from __future__ import annotations

from dataclasses import dataclass, field

from .values import doc


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long the runner's own tables keep what nothing needs any more.

    Tombstones have `remember_deletes_days`, and Idempotency-Keys `api.remember_hours`.
    """

    purge_hours: float = field(
        default=24.0,
        metadata=doc(
            "How often a running runner purges, first a minute after its start; 0 never: then call "
            "`sink-runner purge`.",
            minimum=0,
        ),
    )
    dead_letters_days: float = field(
        default=90.0,
        metadata=doc(
            "How long settled dead letters are kept, whose payload is deleted at once; 0 for ever.",
            minimum=0,
        ),
    )
    audit_days: float = field(
        default=1095.0,
        metadata=doc(
            "How long the audit log is kept, in whole months; 0 for ever.",
            minimum=0,
        ),
    )
    conflicts_days: float = field(
        default=90.0,
        metadata=doc(
            "How long conflicts are kept that are resolved, by a person or by their mapping's "
            "rule; what a person decided stays in the audit log. 0 for ever.",
            minimum=0,
        ),
    )
    runs_days: float = field(
        default=90.0,
        metadata=doc(
            "How long finished runs of `sink-runner batch` are kept that no later run needs; 0 "
            "for ever.",
            minimum=0,
        ),
    )
    schedules_days: float = field(
        default=90.0,
        metadata=doc(
            "How long the progress of a schedule that no mapping declares any more is kept, from "
            "the first time that it missed; 0 for ever.",
            minimum=0,
        ),
    )
