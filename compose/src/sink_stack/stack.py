"""Starts and stops the whole stack, in the order of its dependencies."""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from . import (
    airflow,
    envfile,
    health,
    monitoring,
    ports,
    recovery,
    runner,
    settings,
    topics,
)
from .debezium import Debezium, write_properties
from .errors import PartDiedError, StackError
from .kafka import Kafka
from .layout import Layout
from .postgres import Postgres, migrate_databases
from .processes import Command, Supervisor
from .programs import Installer
from .progress import Reporter
from .registry import Registry
from .settings import DATABASES, Settings

_PART_OF_PORT = {
    "health": "runner",
    "kafka_controller": "kafka",
    "registry_management": "registry",
    "airflow": "airflow-api",
}
# A part stops before the parts that it reads from; those of the last group are independent.
_STOP_ORDER = (
    (*monitoring.PARTS, *airflow.PARTS, "schedule", "api"),
    ("runner",),
    ("warehouse", "citizen"),
    ("registry", "kafka", "postgres", *recovery.PARTS),
)
_SNAPSHOT_SECONDS = 600
_RESTARTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a caller of `up` can add to the files of the repository.

    `prepare` runs once the databases are filled and before Debezium starts.
    """

    runner: Sequence[str] | None = None
    api: Sequence[str] | None = None
    schedule: Sequence[str] | None = None
    """Not started while Airflow runs, which starts the same batches."""
    extra_tables: Mapping[str, Sequence[str]] = field(default_factory=dict)
    extra_topics: Sequence[topics.Topic] = ()
    prepare: Callable[[Settings], None] | None = None


class Stack:
    """One stack in one home."""

    def __init__(
        self, layout: Layout, environ: Mapping[str, str], reporter: Reporter | None = None
    ) -> None:
        self.layout = layout
        self._reporter = reporter or Reporter()
        self.supervisor = Supervisor(layout, self._reporter.step)
        self.versions = envfile.load(layout.root / "compose" / "versions.env")
        self._environ = environ

    @property
    def settings(self) -> Settings:
        known = settings.load(self.layout)
        if known is None:
            raise StackError(f"there is no stack in {self.layout.home}: run `sink-stack up`")
        return known

    def up(self, options: Options | None = None) -> None:
        """Install what is missing, start what does not run, restart what is outdated."""
        options, steps = options or Options(), self._reporter.steps
        self.layout.make()
        programs = Installer(self.layout, self.versions, self._environ).install(self._reporter)
        current = settings.prepare(self.layout, self._environ, self._port_is_ours)
        postgres = Postgres(self.layout, current, programs.postgres)
        kafka = Kafka(self.layout, current, programs.java, programs.kafka)
        registry = Registry(self.layout, current, programs.java, programs.registry)
        with ThreadPoolExecutor() as pool:
            started = [
                pool.submit(self._up_kafka, kafka, options),
                pool.submit(self._up_registry, registry),
                pool.submit(self._up_postgres, postgres, options),
            ]
            _results(started)
            write_properties(self.layout, options.extra_tables)
            servers = [Debezium(self.layout, current, programs, name) for name in DATABASES]
            _results([pool.submit(self._up_debezium, server) for server in servers])
        sinks = {"runner": options.runner, "api": options.api, "schedule": options.schedule}
        if self.supervisor.running("airflow-scheduler"):
            del sinks["schedule"]
        self.up_sinks({name: argv for name, argv in sinks.items() if argv})
        if self._reporter.steps == steps:
            self._reporter.step("every part is up, with the current configuration")

    def down(self) -> None:
        """Stop every part that this home started, readers first."""
        for names in _STOP_ORDER:
            alive = [name for name in names if self.supervisor.running(name)]
            self.supervisor.stop(*names)
            if alive:
                self._reporter.step(f"stopped {', '.join(alive)}")

    def restart(self, parts: Sequence[str], options: Options) -> None:
        """Stop parts and start what does not run.

        A runner keeps running if its new configuration is refused.
        """
        known = {name for names in _STOP_ORDER for name in names}
        if unknown := sorted(set(parts) - known):
            raise StackError(
                f"unknown part {', '.join(unknown)}; parts: {', '.join(sorted(known))}"
            )
        if "runner" in parts and options.runner:
            self._check(runner.command(self.layout, options.runner, self.environment(), "runner"))
        self.supervisor.stop(*parts)
        self.up(options)

    def clean(self) -> None:
        """Delete this home, and PostgreSQL's folder if it is elsewhere."""
        self.down()
        data = self.settings.values.get("STACK_POSTGRES_DATA")
        if data and self.layout.home not in Path(data).parents:
            shutil.rmtree(Path(data).parent, ignore_errors=True)
        shutil.rmtree(self.layout.home)

    def up_sinks(self, sinks: Mapping[str, Sequence[str]]) -> None:
        """Start programs of the sink; `sinks` maps their names to their commands."""
        commands = [
            runner.command(self.layout, argv, self.environment(), name)
            for name, argv in sinks.items()
        ]
        for one in commands:
            if not self.supervisor.current(one):
                self._check(one)
        if started := [one.name for one in commands if self.supervisor.ensure(one)]:
            runner.wait_until_settled(self.supervisor, *started)
            if "api" in started:
                port = self.settings.port("api")
                self.supervisor.wait_until("api", lambda: ports.answers(port), 30)
            found = self._started_mappings() if "runner" in started else {}
            verb = "is" if len(started) == 1 else "are"
            self._reporter.step(f"{', '.join(started)} {verb} up")
            if "api" in started:
                self._reporter.step(
                    f"the console is at {self.settings.console}; "
                    f"SINK_API_LOCAL_KEY of {self.layout.settings} signs you in"
                )
            for line in health.not_running(found):
                self._reporter.step(line)

    def _check(self, command: Command) -> None:
        try:
            runner.check(command)
        except StackError as refused:
            kept = self.supervisor.running(command.name) is not None
            more = "; the running one goes on with the configuration it has" if kept else ""
            raise StackError(f"{refused}{more}") from None

    def _started_mappings(self) -> Mapping[str, health.MappingState]:
        """Return the states of the mappings once none is starting.

        Raises PartDiedError if the runner ends meanwhile.
        """
        port = self._health_port()
        found = health.started_states(port, self._runner_lives) if port else {}
        if not self._runner_lives():
            self.supervisor.stop("runner")
            raise PartDiedError(f"the sink runner ended\n{self.supervisor.tail('runner')}")
        return found

    def _runner_lives(self) -> bool:
        return not self.supervisor.ended("runner")

    def _health_port(self) -> int:
        return int(self.environment().get("SINK_HEALTH_PORT", 0))

    def back_up(self, folder: Path) -> None:
        """Copy the running cluster to `folder`."""
        recovery.back_up(self._postgres(), self.settings, folder)

    def restore(self, database: str, folder: Path) -> None:
        """Restore one database from a backup; all that reads or writes it must be stopped."""
        recovery.restore(self.supervisor, self._postgres(), self.layout, database, folder)

    def _postgres(self) -> Postgres:
        programs = Installer(self.layout, self.versions, self._environ).programs()
        return Postgres(self.layout, self.settings, programs.postgres)

    def up_airflow(self, environment: Path | None = None) -> airflow.Airflow:
        """Start Airflow for the schedules of a running stack, and stop `sink-runner schedule`."""
        if self.supervisor.running("postgres") is None:
            raise StackError("the stack is down: run `make up` first")
        environment = environment or self.layout.root / airflow.ENVIRONMENT
        airflow.install(self.layout, environment, self._reporter)
        settings.prepare(self.layout, self._environ, self._port_is_ours)
        made = airflow.Airflow(
            layout=self.layout,
            environment=environment,
            runner=Path(*sink_runner()),
            port=self.settings.port("airflow"),
            exported=self.environment(),
        )
        made.up(self.supervisor, self._reporter)
        self.supervisor.stop("schedule")
        return made

    def up_monitoring(self) -> None:
        """Start Prometheus and Alertmanager, whether or not the rest of the stack runs."""
        self.layout.make()
        programs = monitoring.install(self.layout, self.versions, self._reporter)
        made = monitoring.Monitoring(
            layout=self.layout,
            settings=settings.prepare(self.layout, self._environ, self._port_is_ours),
            programs=programs,
            rules=self.layout.root / monitoring.RULES,
            alertmanager=self.layout.root / monitoring.FOLDER / "alertmanager.yml",
        )
        made.up(self.supervisor, self._reporter)

    def environment(self) -> dict[str, str]:
        return settings.exported(self.layout, self.settings)

    def _port_is_ours(self, name: str) -> bool:
        return self.supervisor.running(_PART_OF_PORT.get(name, name)) is not None

    def _up_postgres(self, postgres: Postgres, options: Options) -> None:
        running = self.supervisor.running("postgres")
        if not running:
            postgres.create_cluster()
        if self.supervisor.ensure(postgres.command()):
            self.supervisor.wait_until("postgres", postgres.ready, 60)
            postgres.fill()
            self._reporter.step("PostgreSQL is up")
        recovery.start(self.supervisor, postgres, self.settings)
        if changed := migrate_databases(self.settings.admin_dsn):
            self._reporter.step(f"sink-runner's tables are up to date in {', '.join(changed)}")
        if options.prepare:
            options.prepare(self.settings)
        if postgres.outdated():
            self._reporter.step(
                "compose/sql changed since the databases were made:"
                " `sink-stack clean` and `up` create them again"
            )

    def _up_kafka(self, kafka: Kafka, options: Options) -> None:
        kafka.format()
        if self.supervisor.ensure(kafka.command()):
            self.supervisor.wait_until("kafka", kafka.ready, 90)
            self._reporter.step("Kafka is up")
        wanted = [*topics.declared(self.layout.topics), *options.extra_topics]
        if created := topics.create(self.settings.kafka, wanted):
            self._reporter.step(f"created {created} topics")

    def _up_registry(self, registry: Registry) -> None:
        if self.supervisor.ensure(registry.command()):
            self.supervisor.wait_until("registry", registry.ready, 90)
            self._reporter.step("the schema registry is up")

    def _up_debezium(self, server: Debezium) -> None:
        started = self.supervisor.ensure(server.command())
        if started or not server.ready():
            # A server that was already running may still end because another part was down before.
            restarts = 0 if started else self.supervisor.restarts(server.name).count + _RESTARTS
            self.supervisor.wait_until(
                server.name, server.ready, _SNAPSHOT_SECONDS, restarts=restarts
            )
            self._reporter.step(f"Debezium streams {DATABASES[server.name]}")


def sink_runner(*arguments: str) -> list[str]:
    """Return the command of the `sink-runner` in the environment of this program."""
    return [str(Path(sys.executable).with_name("sink-runner")), *arguments]


def _results(futures: Sequence[Future[None]]) -> None:
    """Wait for all of them, then raise the first fault."""
    faults = [fault for future in futures if (fault := future.exception())]
    if faults:
        raise faults[0]
