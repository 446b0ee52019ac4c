"""What an operator can do about the state of a mapping."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import (
    AccessError,
    ConfigError,
    DowngradeError,
    FatalError,
    PolicyError,
    RetriableError,
    SchemaError,
    StalePoliciesError,
)
from ..model.status import MappingStatus, State

RESUME = "sink-runner resume {mapping}"
RELOAD = "sink-runner reload"
_RESTART = f"do what the reason says, then run `{RELOAD}`"
# The first class that fits counts, so a subclass comes before its base.
_WAYS: Sequence[tuple[type[BaseException], str]] = (
    (SchemaError, "run `sink-runner schema check {mapping}`: it says what to change or to accept"),
    (StalePoliciesError, "make Ranger Admin answer again; the mapping goes on automatically"),
    (PolicyError, "run `sink-runner policies check`: it names each column without a usable policy"),
    (DowngradeError, "install the newer version of sink-runner, then restart the runner"),
    (AccessError, "grant what the reason names, or correct the credentials; needs no restart"),
    (ConfigError, "correct what the reason names; needs no restart"),
    (RetriableError, "restore what does not answer; the mapping goes on automatically"),
    (FatalError, _RESTART),
)
_WITHOUT_ERROR = {
    State.PAUSED: f"the log says which step does not return: correct it, then run `{RELOAD}`",
    State.QUARANTINED: f"repair the plugin, then run `{RELOAD}`",
    State.STOPPED: _RESTART,
}
_BUG = "the log says where the error was raised: correct the plugin, or report it as a bug"


def way_out(mapping: str, status: MappingStatus) -> str:
    """Return what to do about this state, "" if nothing has to be done."""
    if status.error is None:
        return _WITHOUT_ERROR.get(status.state, "")
    fits = (text for kind, text in _WAYS if issubclass(status.error, kind))
    return next(fits, _BUG).format(mapping=mapping)
