"""A thread a mapping, from the start to the signal that ends them."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from sink_runner import config
from sink_runner.errors import (
    ConfigError,
    DowngradeError,
    FatalError,
    PolicyError,
    RetriableError,
)
from sink_runner.loading import discovery
from sink_runner.masking.policy import load_policies
from sink_runner.model.status import Health, State
from sink_runner.runtime import mapping_thread, runner
from sink_runner.runtime.mapping_thread import MappingThread

ROOT = Path(__file__).parents[3]
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

    def __init__(self, fault: BaseException | None = None, *, deaf: bool = False) -> None:
        self.fault, self.deaf = fault, deaf
        self.counts = Counter(written=1)
        self.turned = inf
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
        def threads(context: Any, *, strict: bool) -> list[MappingThread]:
            def tell() -> None:
                context.stop.wait(20)
                for work in works:
                    work.told.set()

            threading.Thread(target=tell).start()
            if signalled is not None:
                threading.Timer(0.3, os.kill, (os.getpid(), signalled)).start()
            return [
                MappingThread(
                    f"w{number}",
                    lambda work=work: work,
                    context.health.mapping(f"w{number}"),
                    context.stop,
                )
                for number, work in enumerate(works)
            ]

        monkeypatch.setattr(runner, "_threads", threads)
        return runner.run(settings, [])

    return run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(run: Callable[..., int], number: int) -> None:
    before = signal.getsignal(number)
    assert run(Work(), Work(), signalled=number) == 0
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("fault", [FatalError("why"), RuntimeError("secret"), SystemExit(0)])
def test_failed_mapping_stops_no_other(
    run: Callable[..., int], fault: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Work()
    started = time.monotonic()
    assert run(Work(fault), other, signalled=signal.SIGTERM) == 1
    assert time.monotonic() - started >= 0.3
    assert "mapping_stopped" in capsys.readouterr().out


@pytest.mark.parametrize("fault", [FatalError("why"), DowngradeError("why"), SystemExit(0)])
def test_when_all_have_failed_it_ends_by_itself(
    run: Callable[..., int], fault: BaseException
) -> None:
    assert run(Work(fault)) == 1


def test_whoever_does_not_finish_in_time_is_cancelled(
    run: Callable[..., int], settings: Any
) -> None:
    object.__setattr__(settings, "shutdown_seconds", 0.6)
    deaf = Work(deaf=True)
    started = time.monotonic()
    assert run(deaf, signalled=signal.SIGTERM) == 0
    assert deaf.cancelled.is_set()
    assert time.monotonic() - started < 5


def test_stop_works_while_database_is_silent(site, settings: Any) -> None:
    site.mapping("waits")
    plugins = discovery.installed()
    discovery.load(plugins["waits"])
    started = time.monotonic()
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert runner.run(settings, discovery.usable([plugins["waits"]])) == 0
    assert 0.5 <= time.monotonic() - started < 10


_RUNNER = {"__name__": "sink_runner.made_by_a_test"}
exec("def raise_as_the_runner(fault): raise fault", _RUNNER)
raise_as_the_runner: Callable[[Exception], None] = _RUNNER["raise_as_the_runner"]
"""Only a text that the runner itself raised is told."""


class Built:
    """Stands where `build_worker` stands: what it does for each mapping is set by the test."""

    def __init__(self, site, monkeypatch: pytest.MonkeyPatch) -> None:
        self._site = site
        self.faults: dict[str, list[Exception]] = {}
        """What the next builds of a mapping raise."""
        self.built: list[str] = []
        self.ran: list[str] = []
        self.health: Any = None
        monkeypatch.setattr(runner, "build_worker", self)

    def __call__(self, plugin: Any, context: Any) -> Any:
        self.health = context.health
        self.built.append(plugin.name)
        if faults := self.faults.get(plugin.name):
            raise_as_the_runner(faults.pop(0))

        def work() -> None:
            self.ran.append(plugin.name)
            context.stop.wait(20)

        return SimpleNamespace(run=work, counts={}, cancel=lambda: None, turned=inf)

    def plugins(self, *names: str) -> list[Any]:
        for name in names:
            self._site.mapping(name)
        installed = discovery.installed()
        for name in names:
            discovery.load(installed[name])
        return [installed[name] for name in names]

    def until(self, holds: Callable[[], bool]) -> None:
        """Signal the end of the run once `holds`, or after some seconds."""

        def watch() -> None:
            bound = time.monotonic() + 10
            while not holds() and time.monotonic() < bound:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=watch).start()

    def state(self, name: str) -> Any:
        return self.health.statuses()[name]


@pytest.fixture
def built(site, monkeypatch: pytest.MonkeyPatch) -> Built:
    return Built(site, monkeypatch)


def test_mapping_that_cannot_start_is_quarantined(built: Built, settings: Any) -> None:
    built.faults["bad"] = [ConfigError("topic 'bad' does not exist")]
    plugins = built.plugins("bad", "good")
    built.until(lambda: built.ran == ["good"] and built.state("bad").state is State.QUARANTINED)
    with capture_logs() as logs:
        assert runner.run(settings, plugins) == 1
    assert built.ran == ["good"]
    assert built.state("bad").reason == "topic 'bad' does not exist"
    (told,) = [one for one in logs if one["event"] == "mapping_quarantined"]
    assert (told["mapping"], told["reason"]) == ("bad", "topic 'bad' does not exist")
    assert told["log_level"] == "error"


def test_policy_fault_quarantines_only_its_mapping(
    site, built: Built, settings: Any, tmp_path: Path
) -> None:
    with pytest.raises(PolicyError) as caught:
        load_policies(tmp_path / "nothing")
    built.faults["bare"] = [caught.value]
    plugins = built.plugins("bare", "decent")
    built.until(lambda: built.ran == ["decent"] and built.state("bare").state is State.QUARANTINED)
    assert runner.run(settings, plugins) == 1
    assert "without policies" in built.state("bare").reason


def test_quarantined_mapping_starts_once_the_cause_is_gone(
    built: Built, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        mapping_thread.MappingThread.__init__, "__kwdefaults__", {"recheck_seconds": 0.05}
    )
    built.faults["late"] = [ConfigError("GRANT SELECT"), ConfigError("GRANT SELECT")]
    plugins = built.plugins("late")
    built.until(lambda: built.ran == ["late"])
    with capture_logs() as logs:
        assert runner.run(settings, plugins) == 0
    assert built.built == ["late"] * 3
    events = [one["event"] for one in logs if one.get("mapping") == "late"]
    assert events == [
        *("mapping_quarantined", "mapping_released", "mapping_started", "mapping_finished")
    ]


def test_all_quarantined_stays_up_and_not_ready(built: Built, settings: Any) -> None:
    built.faults["one"] = [ConfigError("wrong")]
    plugins = built.plugins("one")
    seen = []
    built.until(
        lambda: (
            bool(seen)
            or (
                built.health is not None
                and "one" in built.health.statuses()
                and built.state("one").state is State.QUARANTINED
                and seen.append(built.health.ready()) is None
            )
        )
    )
    started = time.monotonic()
    assert runner.run(settings, plugins) == 1
    assert seen == [False]
    assert time.monotonic() - started < 8


def test_outage_of_one_mapping_delays_no_other(built: Built, settings: Any) -> None:
    built.faults["away"] = [RetriableError("no connection")] * 1000
    plugins = built.plugins("away", "here")
    built.until(lambda: built.ran == ["here"])
    started = time.monotonic()
    assert runner.run(settings, plugins) == 0
    assert built.ran == ["here"]
    assert time.monotonic() - started < 8


@pytest.mark.parametrize("kind", [ConfigError, RetriableError])
def test_config_fault_while_running_quarantines(kind: type[Exception]) -> None:
    """An outage, too, where no part of the worker waits: it passes without a restart."""

    def fail() -> None:
        raise_as_the_runner(kind("GRANT INSERT ON TABLE t TO sink_writer"))

    broken = SimpleNamespace(run=fail, counts={}, cancel=lambda: None)
    health = Health()
    thread = MappingThread("one", lambda: broken, health.mapping("one"), threading.Event())
    thread.start()
    bound = time.monotonic() + 5
    while health.statuses()["one"].state is not State.QUARANTINED and time.monotonic() < bound:
        time.sleep(0.01)
    assert health.statuses()["one"].reason == "GRANT INSERT ON TABLE t TO sink_writer"
    thread._stop_event.set()
    thread.join(5)
    assert thread.failed


def test_quarantined_plugins_are_reported_and_fail_the_run(built: Built, settings: Any) -> None:
    plugins = built.plugins("good")
    built.until(lambda: built.ran == ["good"])
    with capture_logs() as logs:
        assert runner.run(settings, plugins, {"bad": "SyntaxError: line 3"}) == 1
    assert built.state("bad").state is State.QUARANTINED
    assert (
        built.health.registry.get_sample_value("sink_mapping_quarantined", {"mapping": "bad"}) == 1
    )
    assert [one["mapping"] for one in logs if one["event"] == "mapping_quarantined"] == ["bad"]


def test_strict_run_refuses_and_names_every_fault(built: Built, settings: Any) -> None:
    for name in ("one", "two"):
        built.faults[name] = [RetriableError("not now"), ConfigError("wrong")]
    plugins = built.plugins("one", "two", "good")
    with pytest.raises(ConfigError) as caught:
        runner.run(settings, plugins, strict=True)
    assert str(caught.value) == "mapping 'one': wrong\nmapping 'two': wrong"
    assert built.ran == []


def test_strict_run_builds_each_mapping_once(built: Built, settings: Any) -> None:
    plugins = built.plugins("one")
    built.until(lambda: built.ran == ["one"])
    assert runner.run(settings, plugins, strict=True) == 0
    assert built.built == ["one"]


def test_mapping_without_events_gets_no_thread(
    site, built: Built, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = built.plugins("one")
    site.nightly("two")
    two = discovery.installed()["two"]
    discovery.load(two)
    built.until(lambda: built.ran == ["one"])
    assert runner.run(settings, [one, two]) == 0
    assert built.built == ["one"]


def test_mapping_that_does_not_return_is_paused() -> None:
    """Nothing tells it from an idle one but that it does not begin another turn."""
    work, health, stop = Work(), Health(), threading.Event()
    thread = MappingThread("one", lambda: work, health.mapping("one"), stop)
    with capture_logs() as logs:
        thread.start()
        while not health.mapping("one").is_running():
            time.sleep(0.01)
        for turned, state in ((-1e6, State.PAUSED), (-1e6, State.PAUSED), (inf, State.RUNNING)):
            work.turned = turned
            thread.check_progress()
            assert health.statuses()["one"].state is state
        work.told.set()
        thread.join(5)
    (told,) = [one for one in logs if one["event"] == "mapping_stalled"]
    assert told["mapping"] == "one"
    assert any(at.endswith(":run") and __file__ in at for stack in told["stacks"] for at in stack)


def test_mapping_that_ends_after_a_stall_stays_stopped() -> None:
    work, health = Work(FatalError("why")), Health()
    told, run = threading.Event(), work.run
    work.run = lambda: (told.wait(20), run())
    thread = MappingThread("one", lambda: work, health.mapping("one"), threading.Event())
    thread.start()
    while not health.mapping("one").is_running():
        time.sleep(0.01)
    work.turned = -1e6
    thread.check_progress()
    told.set()
    thread.join(5)
    thread.check_progress()
    assert health.statuses()["one"].state is State.STOPPED
