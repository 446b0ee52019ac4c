"""What runs once a batch or once a worker."""

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
        seen: list[Any],
        fails: str = "",
        kind: type[BaseException] = ValueError,
    ) -> None:
        self.name, self.seen, self.fails, self.kind = name, seen, fails, kind

    def saw(self, what: str, *more: Any) -> None:
        self.seen.append((self.name, what, *more))
        if what == self.fails:
            raise self.kind("secret")

    @hookimpl
    def sink_startup(self, ctx: Any) -> None:
        self.saw("startup", ctx)

    @hookimpl
    def sink_shutdown(self) -> None:
        self.saw("shutdown")

    @hookimpl
    def sink_batch_committed(self, changes: int) -> None:
        self.saw("committed", changes)

    @hookimpl
    def sink_event_failed(self, event: Any, error: EventError) -> None:
        self.saw("failed", event, str(error))


class Late:
    """Has nothing to start, yet something to end."""

    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen

    @hookimpl
    def sink_shutdown(self) -> None:
        self.seen.append(("late", "shutdown"))


def hooks(*plugins: Any) -> Hooks:
    manager = new_manager()
    for number, plugin in enumerate(reversed(plugins)):
        manager.register(plugin, f"p{number}")
    return Hooks(manager, defaultdict(lambda: "ctx"))


@pytest.fixture
def seen() -> list[Any]:
    return []


def test_each_is_called_with_what_it_takes(seen: list[Any]) -> None:
    made = hooks(Plugin("a", seen))
    made.startup()
    made.committed(7)
    made.failed(EventError("why"), lambda: cast("Event", "an event"))
    made.shutdown()
    assert seen == [
        ("a", "startup", "ctx"),
        ("a", "committed", 7),
        ("a", "failed", "an event", "why"),
        ("a", "shutdown"),
    ]


@pytest.mark.parametrize("fails", ["committed", "failed", "shutdown"])
def test_fault_after_commit_is_logged_without_text(
    seen: list[Any], fails: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = hooks(Plugin("a", seen, fails), Plugin("b", seen))
    made.startup()
    made.committed(1)
    made.failed(EventError("why"), lambda: None)
    made.shutdown()
    assert [name for name, what, *_ in seen if what == fails] == ["a", "b"]
    out = capsys.readouterr().out
    assert "hook_failed" in out
    assert "secret" not in out


def test_a_fault_at_startup_is_raised(seen: list[Any]) -> None:
    message = "sink_startup of plugin 'p0' raised ValueError"
    with pytest.raises(ConfigError, match=message) as caught:
        hooks(Plugin("a", seen, "startup")).startup()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("hook", ["committed", "shutdown"])
def test_exit_of_a_late_hook_is_logged_only(
    seen: list[Any], hook: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = hooks(Plugin("a", seen, hook, SystemExit), Plugin("b", seen))
    made.committed(1)
    made.shutdown()
    assert ("b", "shutdown") in seen
    assert "hook_failed" in capsys.readouterr().out


def test_only_what_was_started_is_shut_down(seen: list[Any]) -> None:
    made = hooks(Plugin("a", seen), Plugin("b", seen, "startup"), Plugin("c", seen), Late(seen))
    with pytest.raises(ConfigError):
        made.startup()
    made.shutdown()
    ended = [name for name, what, *_ in seen if what == "shutdown"]
    assert ended == ["a", "b", "late"]
