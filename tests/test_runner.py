"""A thread a mapping, from the start to the signal that ends them."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from sink_runner import config, runner
from sink_runner.errors import ConfigError, FatalError, RetriableError
from sink_runner.health.board import State
from sink_runner.loading import registry
from sink_runner.masking.policy import load_policies

ROOT = Path(__file__).parents[1]
NOWHERE = "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"
FILE = f"""
retry_steps = [0.05]
[kafka]
bootstrap = "127.0.0.1:1"
[registry]
url = "http://127.0.0.1:1"
[databases.north]
dsn = "{NOWHERE}"
reader_dsn = "{NOWHERE}"
[databases.south]
dsn = "{NOWHERE}"
reader_dsn = "{NOWHERE}"
[policies]
directory = "{ROOT / "ranger-policies"}"
[dead_letters]
key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
key_id = "one"
"""


class Work:
    """Stands where a worker stands: runs until it is told, or fails."""

    def __init__(self, fault: Exception | None = None, *, deaf: bool = False) -> None:
        self.fault, self.deaf = fault, deaf
        self.counts = Counter(written=1)
        self.told = threading.Event()
        self.cancelled = threading.Event()

    def run(self) -> None:
        if self.fault is not None:
            raise self.fault
        (self.cancelled if self.deaf else self.told).wait(20)

    def cancel(self) -> None:
        self.cancelled.set()


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    path = tmp_path / config.FILE
    path.write_text(FILE)
    return config.load(path, {}).config()


@pytest.fixture
def run(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run these in place of workers; a signal comes as soon as they do."""

    def run(*works: Work, signalled: int | None = None) -> int:
        def build(around: Any) -> tuple[dict[str, Work], bool]:
            def tell() -> None:
                around.stop.wait(20)
                for work in works:
                    work.told.set()

            threading.Thread(target=tell).start()
            if signalled is not None:
                threading.Timer(0.3, os.kill, (os.getpid(), signalled)).start()
            return {f"w{number}": work for number, work in enumerate(works)}, False

        monkeypatch.setattr(runner, "_build", build)
        return runner.run(settings, [])

    return run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(run: Callable[..., int], number: int) -> None:
    before = signal.getsignal(number)
    assert run(Work(), Work(), signalled=number) == 0
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("fault", [FatalError("why"), RuntimeError("secret")])
def test_one_that_fails_fails_alone_and_is_told_in_the_end(
    run: Callable[..., int], fault: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Work()
    started = time.monotonic()
    assert run(Work(fault), other, signalled=signal.SIGTERM) == 1
    assert time.monotonic() - started >= 0.3
    assert "mapping_stopped" in capsys.readouterr().out


def test_when_all_have_failed_it_ends_by_itself(run: Callable[..., int]) -> None:
    assert run(Work(FatalError("why"))) == 1


def test_whoever_does_not_finish_in_time_is_cancelled(
    run: Callable[..., int], settings: Any
) -> None:
    object.__setattr__(settings, "shutdown_seconds", 0.6)
    deaf = Work(deaf=True)
    started = time.monotonic()
    assert run(deaf, signalled=signal.SIGTERM) == 0
    assert deaf.cancelled.is_set()
    assert time.monotonic() - started < 5


def test_told_to_stop_while_a_database_does_not_answer_it_ends(site, settings: Any) -> None:
    site.mapping("waits")
    plugins = registry.installed()
    registry.load(plugins["waits"])
    started = time.monotonic()
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert runner.run(settings, registry.usable([plugins["waits"]])) == 0
    assert 0.5 <= time.monotonic() - started < 10


def test_every_fault_of_the_set_up_is_told_at_once(
    site, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(plugin: Any, _: Any) -> None:
        tried.append(plugin.name)
        if tried.count(plugin.name) < 3:
            raise RetriableError("not now")
        raise ConfigError("wrong")

    tried: list[str] = []
    monkeypatch.setattr(runner, "build", build)
    for name in ("one", "two"):
        site.mapping(name)
    plugins = registry.installed()
    for name in ("one", "two"):
        registry.load(plugins[name])
    with pytest.raises(ConfigError) as caught:
        runner.run(settings, [plugins["one"], plugins["two"]])
    assert str(caught.value) == "mapping 'one': wrong\nmapping 'two': wrong"
    assert tried == ["one"] * 3 + ["two"] * 3


@pytest.mark.parametrize("alone", [True, False])
def test_whom_the_policies_leave_bare_stops_alone(
    site, settings: Any, monkeypatch: pytest.MonkeyPatch, alone: object
) -> None:
    def build(plugin: Any, around: Any) -> Any:
        if plugin.name == "bare":
            load_policies(Path(NOWHERE))
        health.append(around.health)
        return SimpleNamespace(run=lambda: ran.append(plugin.name), counts={})

    ran: list[str] = []
    health: list[Any] = []
    monkeypatch.setattr(runner, "build", build)
    for name in ("bare", "decent"):
        site.mapping(name)
    plugins = registry.installed()
    for name in ("bare", "decent"):
        registry.load(plugins[name])
    if alone:
        with pytest.raises(ConfigError, match=r"mapping 'bare': .*without policies"):
            runner.run(settings, [plugins["bare"]])
        return
    with capture_logs() as logs:
        assert runner.run(settings, [plugins["bare"], plugins["decent"]]) == 1
    assert ran == ["decent"]
    stopped = health[0].standings()["bare"]
    assert stopped.state is State.STOPPED
    (told,) = [one["reason"] for one in logs if one["event"] == "mapping_stopped"]
    assert told == f"mapping 'bare': {stopped.reason}"
    assert "without policies" in told


def test_a_mapping_that_reads_no_events_gets_no_worker(
    site, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(plugin: Any, _: Any) -> None:
        raise ConfigError(plugin.name)

    monkeypatch.setattr(runner, "build", build)
    site.mapping("one")
    site.nightly("two")
    plugins = registry.installed()
    for name in ("one", "two"):
        registry.load(plugins[name])
    with pytest.raises(ConfigError) as caught:
        runner.run(settings, [plugins["one"], plugins["two"]])
    assert str(caught.value) == "mapping 'one': one"
