"""The runner: one thread for each mapping, from the start to the signal that stops them."""

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
UNREACHABLE = "postgresql://user@127.0.0.1:1/none?connect_timeout=1"
SETTINGS = f"""
retry_steps = [0.05]
[kafka]
bootstrap = "127.0.0.1:1"
[registry]
url = "http://127.0.0.1:1"
[databases.north]
dsn = "{UNREACHABLE}"
reader_dsn = "{UNREACHABLE}"
[databases.south]
dsn = "{UNREACHABLE}"
reader_dsn = "{UNREACHABLE}"
[policies]
directory = "{ROOT / "ranger-policies"}"
[dead_letters]
key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
key_id = "one"
"""


class FakeWorker:
    """A worker that fails, or runs until it is stopped (or cancelled if it ignores that)."""

    def __init__(self, error: BaseException | None = None, *, ignores_stop: bool = False) -> None:
        self.error, self.ignores_stop = error, ignores_stop
        self.counts = Counter(written=1)
        self.turned = inf
        self.stopped = threading.Event()
        self.cancelled = threading.Event()

    def run(self) -> None:
        if self.error is not None:
            raise self.error
        (self.cancelled if self.ignores_stop else self.stopped).wait(20)

    def cancel(self) -> None:
        self.cancelled.set()


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    path = tmp_path / config.FILE
    path.write_text(SETTINGS)
    return config.load(path, {}).config()


@pytest.fixture
def run(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return a function that runs the workers, and sends this process a signal meanwhile."""

    def run(*workers: FakeWorker, send_signal: int | None = None) -> int:
        def threads(context: Any, *, strict: bool) -> list[MappingThread]:
            def stop_workers() -> None:
                context.stop.wait(20)
                for worker in workers:
                    worker.stopped.set()

            threading.Thread(target=stop_workers).start()
            if send_signal is not None:
                threading.Timer(0.3, os.kill, (os.getpid(), send_signal)).start()
            return [
                MappingThread(
                    f"w{number}",
                    lambda worker=worker: worker,
                    context.health.mapping(f"w{number}"),
                    context.stop,
                )
                for number, worker in enumerate(workers)
            ]

        monkeypatch.setattr(runner, "_make_threads", threads)
        return runner.run(settings, [])

    return run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_run_successfully(run: Callable[..., int], number: int) -> None:
    before = signal.getsignal(number)
    assert run(FakeWorker(), FakeWorker(), send_signal=number) == 0
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("error", [FatalError("why"), RuntimeError("secret"), SystemExit(0)])
def test_failed_mapping_does_not_stop_others(
    run: Callable[..., int], error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    other = FakeWorker()
    started = time.monotonic()
    assert run(FakeWorker(error), other, send_signal=signal.SIGTERM) == 1
    assert time.monotonic() - started >= 0.3
    assert "mapping_stopped" in capsys.readouterr().out


@pytest.mark.parametrize("error", [FatalError("why"), DowngradeError("why"), SystemExit(0)])
def test_run_ends_when_all_mappings_failed(run: Callable[..., int], error: BaseException) -> None:
    assert run(FakeWorker(error)) == 1


def test_worker_that_ignores_stop_is_cancelled(run: Callable[..., int], settings: Any) -> None:
    object.__setattr__(settings, "shutdown_seconds", 0.6)
    worker = FakeWorker(ignores_stop=True)
    started = time.monotonic()
    assert run(worker, send_signal=signal.SIGTERM) == 0
    assert worker.cancelled.is_set()
    assert time.monotonic() - started < 5


def test_signal_ends_retries_of_unreachable_database(site, settings: Any) -> None:
    site.mapping("waits")
    plugins = discovery.installed()
    discovery.load(plugins["waits"])
    started = time.monotonic()
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert runner.run(settings, discovery.usable([plugins["waits"]])) == 0
    assert 0.5 <= time.monotonic() - started < 10


# The reason is published only if a module of the runner raised the error.
_RUNNER = {"__name__": "sink_runner.module_of_this_test"}
exec("def raise_as_the_runner(error): raise error", _RUNNER)
raise_as_the_runner: Callable[[Exception], None] = _RUNNER["raise_as_the_runner"]


class WorkerBuilder:
    """Replaces `build_worker`: the test says which errors it raises for each mapping."""

    def __init__(self, site, monkeypatch: pytest.MonkeyPatch) -> None:
        self._site = site
        self.errors: dict[str, list[Exception]] = {}
        """What the next calls for a mapping raise, one error for each call."""
        self.built: list[str] = []
        self.ran: list[str] = []
        self.health: Any = None
        monkeypatch.setattr(runner, "build_worker", self)

    def __call__(self, plugin: Any, context: Any) -> Any:
        self.health = context.health
        self.built.append(plugin.name)
        if errors := self.errors.get(plugin.name):
            raise_as_the_runner(errors.pop(0))

        def run() -> None:
            self.ran.append(plugin.name)
            context.stop.wait(20)

        return SimpleNamespace(run=run, counts={}, cancel=lambda: None, turned=inf)

    def plugins(self, *names: str) -> list[Any]:
        for name in names:
            self._site.mapping(name)
        installed = discovery.installed()
        for name in names:
            discovery.load(installed[name])
        return [installed[name] for name in names]

    def stop_when(self, condition: Callable[[], bool]) -> None:
        """Stop the run by a signal once the condition holds, or after 10 seconds."""

        def watch() -> None:
            bound = time.monotonic() + 10
            while not condition() and time.monotonic() < bound:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=watch).start()

    def state(self, name: str) -> Any:
        return self.health.statuses()[name]


@pytest.fixture
def builder(site, monkeypatch: pytest.MonkeyPatch) -> WorkerBuilder:
    return WorkerBuilder(site, monkeypatch)


def test_mapping_that_cannot_start_is_quarantined(builder: WorkerBuilder, settings: Any) -> None:
    builder.errors["bad"] = [ConfigError("topic 'bad' does not exist")]
    plugins = builder.plugins("bad", "good")
    builder.stop_when(
        lambda: builder.ran == ["good"] and builder.state("bad").state is State.QUARANTINED
    )
    with capture_logs() as logs:
        assert runner.run(settings, plugins) == 1
    assert builder.ran == ["good"]
    assert builder.state("bad").reason == "topic 'bad' does not exist"
    (line,) = [line for line in logs if line["event"] == "mapping_quarantined"]
    assert (line["mapping"], line["reason"]) == ("bad", "topic 'bad' does not exist")
    assert line["log_level"] == "error"


def test_policy_error_quarantines_only_its_mapping(
    site, builder: WorkerBuilder, settings: Any, tmp_path: Path
) -> None:
    with pytest.raises(PolicyError) as caught:
        load_policies(tmp_path / "nothing")
    builder.errors["unmasked"] = [caught.value]
    plugins = builder.plugins("unmasked", "masked")
    builder.stop_when(
        lambda: builder.ran == ["masked"] and builder.state("unmasked").state is State.QUARANTINED
    )
    assert runner.run(settings, plugins) == 1
    assert "without policies" in builder.state("unmasked").reason


def test_quarantined_mapping_starts_after_repair(
    builder: WorkerBuilder, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        mapping_thread.MappingThread.__init__, "__kwdefaults__", {"recheck_seconds": 0.05}
    )
    builder.errors["late"] = [ConfigError("GRANT SELECT"), ConfigError("GRANT SELECT")]
    plugins = builder.plugins("late")
    builder.stop_when(lambda: builder.ran == ["late"])
    with capture_logs() as logs:
        assert runner.run(settings, plugins) == 0
    assert builder.built == ["late"] * 3
    events = [line["event"] for line in logs if line.get("mapping") == "late"]
    assert events == [
        *("mapping_quarantined", "mapping_released", "mapping_started", "mapping_finished")
    ]


def test_runner_without_usable_mapping_is_not_ready(builder: WorkerBuilder, settings: Any) -> None:
    builder.errors["one"] = [ConfigError("wrong")]
    plugins = builder.plugins("one")
    readiness = []
    builder.stop_when(
        lambda: (
            bool(readiness)
            or (
                builder.health is not None
                and "one" in builder.health.statuses()
                and builder.state("one").state is State.QUARANTINED
                and readiness.append(builder.health.ready()) is None
            )
        )
    )
    started = time.monotonic()
    assert runner.run(settings, plugins) == 1
    assert readiness == [False]
    assert time.monotonic() - started < 8


def test_outage_does_not_delay_other_mappings(builder: WorkerBuilder, settings: Any) -> None:
    builder.errors["unreachable"] = [RetriableError("no connection")] * 1000
    plugins = builder.plugins("unreachable", "reachable")
    builder.stop_when(lambda: builder.ran == ["reachable"])
    started = time.monotonic()
    assert runner.run(settings, plugins) == 0
    assert builder.ran == ["reachable"]
    assert time.monotonic() - started < 8


@pytest.mark.parametrize("kind", [ConfigError, RetriableError])
def test_error_while_running_quarantines(kind: type[Exception]) -> None:
    """A transient error that the worker does not retry does so as well; it restarts later."""

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
    thread.join(60)
    assert thread.failed


def test_quarantined_plugins_are_reported_and_fail_the_run(
    builder: WorkerBuilder, settings: Any
) -> None:
    plugins = builder.plugins("good")
    builder.stop_when(lambda: builder.ran == ["good"])
    with capture_logs() as logs:
        assert runner.run(settings, plugins, {"bad": "SyntaxError: line 3"}) == 1
    assert builder.state("bad").state is State.QUARANTINED
    assert (
        builder.health.registry.get_sample_value("sink_mapping_quarantined", {"mapping": "bad"})
        == 1
    )
    assert [line["mapping"] for line in logs if line["event"] == "mapping_quarantined"] == ["bad"]


def test_strict_run_reports_every_configuration_error(
    builder: WorkerBuilder, settings: Any
) -> None:
    for name in ("one", "two"):
        builder.errors[name] = [RetriableError("not now"), ConfigError("wrong")]
    plugins = builder.plugins("one", "two", "good")
    with pytest.raises(ConfigError) as caught:
        runner.run(settings, plugins, strict=True)
    assert str(caught.value) == "mapping 'one': wrong\nmapping 'two': wrong"
    assert builder.ran == []


def test_strict_run_builds_each_mapping_once(builder: WorkerBuilder, settings: Any) -> None:
    plugins = builder.plugins("one")
    builder.stop_when(lambda: builder.ran == ["one"])
    assert runner.run(settings, plugins, strict=True) == 0
    assert builder.built == ["one"]


def test_mapping_without_events_gets_no_thread(
    site, builder: WorkerBuilder, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (streaming,) = builder.plugins("one")
    site.nightly("two")
    batch_only = discovery.installed()["two"]
    discovery.load(batch_only)
    builder.stop_when(lambda: builder.ran == ["one"])
    assert runner.run(settings, [streaming, batch_only]) == 0
    assert builder.built == ["one"]


def test_mapping_that_does_not_return_is_paused() -> None:
    """A stalled worker differs from an idle one only in that it begins no other turn."""
    worker, health, stop = FakeWorker(), Health(), threading.Event()
    thread = MappingThread("one", lambda: worker, health.mapping("one"), stop)
    with capture_logs() as logs:
        thread.start()
        while not health.mapping("one").is_running():
            time.sleep(0.01)
        for turned, state in ((-1e6, State.PAUSED), (-1e6, State.PAUSED), (inf, State.RUNNING)):
            worker.turned = turned
            thread.check_progress()
            assert health.statuses()["one"].state is state
        worker.stopped.set()
        thread.join(60)
    (line,) = [line for line in logs if line["event"] == "mapping_stalled"]
    assert line["mapping"] == "one"
    frames = [frame for stack in line["stacks"] for frame in stack]
    assert any(frame.endswith(":run") and __file__ in frame for frame in frames)


def test_mapping_that_ends_after_a_stall_stays_stopped() -> None:
    worker, health = FakeWorker(FatalError("why")), Health()
    fail, run = threading.Event(), worker.run
    worker.run = lambda: (fail.wait(20), run())
    thread = MappingThread("one", lambda: worker, health.mapping("one"), threading.Event())
    thread.start()
    while not health.mapping("one").is_running():
        time.sleep(0.01)
    worker.turned = -1e6
    thread.check_progress()
    fail.set()
    thread.join(60)
    thread.check_progress()
    assert health.statuses()["one"].state is State.STOPPED
