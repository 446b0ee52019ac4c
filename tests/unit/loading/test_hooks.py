"""Hooks that run once for a batch or once for a worker."""

from collections import defaultdict
from typing import Any, cast

import pytest

from sink_runner.errors import ConfigError, EventError
from sink_runner.loading.discovery import new_manager
from sink_runner.loading.hooks import Hooks
from sink_runner.plugin import Event, hookimpl


class Plugin:
    def __init__(
        self,
        name: str,
        calls: list[Any],
        fails: str = "",
        kind: type[BaseException] = ValueError,
    ) -> None:
        self.name, self.calls, self.fails, self.kind = name, calls, fails, kind

    def record(self, hook: str, *arguments: Any) -> None:
        self.calls.append((self.name, hook, *arguments))
        if hook == self.fails:
            raise self.kind("secret")

    @hookimpl
    def sink_startup(self, ctx: Any) -> None:
        self.record("startup", ctx)

    @hookimpl
    def sink_shutdown(self) -> None:
        self.record("shutdown")

    @hookimpl
    def sink_batch_committed(self, changes: int) -> None:
        self.record("committed", changes)

    @hookimpl
    def sink_event_failed(self, event: Any, error: EventError) -> None:
        self.record("failed", event, str(error))


class ShutdownOnly:
    """A plugin with sink_shutdown and without sink_startup."""

    def __init__(self, calls: list[Any]) -> None:
        self.calls = calls

    @hookimpl
    def sink_shutdown(self) -> None:
        self.calls.append(("shutdown only", "shutdown"))


def hooks(*plugins: Any) -> Hooks:
    manager = new_manager()
    for number, plugin in enumerate(reversed(plugins)):
        manager.register(plugin, f"p{number}")
    return Hooks(manager, defaultdict(lambda: "ctx"))


@pytest.fixture
def calls() -> list[Any]:
    return []


def test_hooks_get_arguments_that_they_name(calls: list[Any]) -> None:
    chain = hooks(Plugin("a", calls))
    chain.startup()
    chain.committed(7)
    chain.failed(EventError("why"), lambda: cast("Event", "an event"))
    chain.shutdown()
    assert calls == [
        ("a", "startup", "ctx"),
        ("a", "committed", 7),
        ("a", "failed", "an event", "why"),
        ("a", "shutdown"),
    ]


@pytest.mark.parametrize("fails", ["committed", "failed", "shutdown"])
def test_error_after_commit_is_logged_without_text(
    calls: list[Any], fails: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = hooks(Plugin("a", calls, fails), Plugin("b", calls))
    chain.startup()
    chain.committed(1)
    chain.failed(EventError("why"), lambda: None)
    chain.shutdown()
    assert [name for name, hook, *_ in calls if hook == fails] == ["a", "b"]
    out = capsys.readouterr().out
    assert "hook_failed" in out
    assert "secret" not in out


def test_error_at_startup_is_raised(calls: list[Any]) -> None:
    message = "sink_startup of plugin 'p0' raised ValueError"
    with pytest.raises(ConfigError, match=message) as caught:
        hooks(Plugin("a", calls, "startup")).startup()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("hook", ["committed", "shutdown"])
def test_exit_of_hook_after_commit_is_logged(
    calls: list[Any], hook: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = hooks(Plugin("a", calls, hook, SystemExit), Plugin("b", calls))
    chain.committed(1)
    chain.shutdown()
    assert ("b", "shutdown") in calls
    assert "hook_failed" in capsys.readouterr().out


def test_only_started_plugins_are_shut_down(calls: list[Any]) -> None:
    chain = hooks(
        Plugin("a", calls), Plugin("b", calls, "startup"), Plugin("c", calls), ShutdownOnly(calls)
    )
    with pytest.raises(ConfigError):
        chain.startup()
    chain.shutdown()
    stopped = [name for name, hook, *_ in calls if hook == "shutdown"]
    assert stopped == ["a", "b", "shutdown only"]
