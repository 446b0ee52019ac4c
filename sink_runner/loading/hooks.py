"""The hooks that run once a batch or once a worker: ordinary pluggy calls."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

import pluggy
import structlog

from ..errors import ConfigError, EventError, FatalError, RetriableError, class_name, raised
from ..plugin import Context, Event


class Hooks:
    """One mapping's batch and lifecycle hooks.  What runs after a commit can't undo it, so
    its faults are logged and that is all."""

    def __init__(self, manager: pluggy.PluginManager, contexts: Mapping[str, Context]) -> None:
        self._manager = manager
        self._contexts = contexts
        self._log = structlog.get_logger()
        self._asleep: set[str] = set()
        """Plugins whose startup was not called yet."""

    def startup(self) -> None:
        starting = self._implementations("sink_startup")
        self._asleep = {impl.plugin_name for impl in starting}
        for impl in starting:
            self._asleep.discard(impl.plugin_name)
            try:
                self._call(impl)
            except (ConfigError, FatalError, KeyboardInterrupt):
                raise
            except BaseException as fault:
                raise ConfigError(
                    f"sink_startup of plugin {impl.plugin_name!r} {raised(fault)}: remove the "
                    "cause, or turn the plugin off"
                ) from fault

    def shutdown(self) -> None:
        self._quietly("sink_shutdown", but=self._asleep)

    def committed(self, changes: int) -> None:
        self._quietly("sink_batch_committed", changes=changes)

    def failed(self, error: EventError, event_of: Callable[[], Event | None]) -> None:
        """Tell of a dead letter; `event_of` gives its event, and is called if a plugin asks."""
        asked = any("event" in one.argnames for one in self._implementations("sink_event_failed"))
        event = None
        if asked:
            with suppress(RetriableError):  # the registry does not answer
                event = event_of()
        self._quietly("sink_event_failed", event=event, error=error)

    def _quietly(self, name: str, but: Collection[str] = (), **arguments: object) -> None:
        for impl in self._implementations(name):
            if impl.plugin_name in but:
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
