"""The hooks that run once for a batch or a worker, as ordinary pluggy calls."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

import pluggy
import structlog

from ..errors import (
    ConfigError,
    EventError,
    FatalError,
    RetriableError,
    class_name,
    describe_raised,
)
from ..plugin import Context, Event


class Hooks:
    """One mapping's batch and lifecycle hooks.

    A hook that runs after a commit cannot undo it, so its errors are only logged."""

    def __init__(self, manager: pluggy.PluginManager, contexts: Mapping[str, Context]) -> None:
        self._manager = manager
        self._contexts = contexts
        self._log = structlog.get_logger()
        self._not_started: set[str] = set()
        """Plugins whose sink_startup was not called yet."""

    def startup(self) -> None:
        starting = self._implementations("sink_startup")
        self._not_started = {impl.plugin_name for impl in starting}
        for impl in starting:
            self._not_started.discard(impl.plugin_name)
            try:
                self._call(impl)
            except (ConfigError, FatalError, KeyboardInterrupt):
                raise
            except BaseException as fault:
                raise ConfigError(
                    f"sink_startup of plugin {impl.plugin_name!r} {describe_raised(fault)}: remove "
                    "the cause, or turn the plugin off"
                ) from fault

    def shutdown(self) -> None:
        self._call_all("sink_shutdown", except_for=self._not_started)

    def committed(self, changes: int) -> None:
        self._call_all("sink_batch_committed", changes=changes)

    def failed(self, error: EventError, event_of: Callable[[], Event | None]) -> None:
        """Report a dead letter; `event_of` returns its event, and is called if a hook takes it."""
        event = None
        if any("event" in one.argnames for one in self._implementations("sink_event_failed")):
            with suppress(RetriableError):  # the registry does not answer
                event = event_of()
        self._call_all("sink_event_failed", event=event, error=error)

    def _call_all(self, name: str, except_for: Collection[str] = (), **arguments: object) -> None:
        for impl in self._implementations(name):
            if impl.plugin_name in except_for:
                continue
            try:
                self._call(impl, **arguments)
            except BaseException as fault:  # noqa: BLE001 - a third party's hook may raise anything
                self._log.error(
                    "hook_failed", hook=name, plugin=impl.plugin_name, kind=class_name(fault)
                )

    def _implementations(self, name: str) -> list[pluggy.HookImpl]:
        caller: pluggy.HookCaller = getattr(self._manager.hook, name)
        return list(reversed(caller.get_hookimpls()))

    def _call(self, impl: pluggy.HookImpl, **arguments: object) -> None:
        known = {**arguments, "ctx": self._contexts[impl.plugin_name]}
        impl.function(**{name: known[name] for name in impl.argnames})
