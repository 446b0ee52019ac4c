"""The Kafka broker: one node that is its own controller."""

import base64
import secrets
import subprocess
from pathlib import Path

from . import java, ports
from .errors import StackError
from .layout import Layout
from .processes import Command
from .settings import Settings

_SERVER = """process.roles=broker,controller
node.id=1
# A broker that was killed can register again only after its session has expired.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
num.network.threads=2
num.io.threads=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# A test may wait for less than 6 s until a dead consumer's partitions are given away.
group.min.session.timeout.ms=1000
log.segment.bytes=134217728
# A producer's request <= topic <= broker <= a consumer's fetch: debezium-config/README.md.
message.max.bytes=68157440
replica.fetch.max.bytes=69206016
replica.fetch.response.max.bytes=69206016
socket.request.max.bytes=104857600
# A topic that is not declared in compose/topics.toml is a mistake.
auto.create.topics.enable=false
"""
_LOGGING = """status=error
rootLogger.level=WARN
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c{1} %m%n
logger.server.name=kafka.server
logger.server.level=INFO
"""


class Kafka:
    """The broker of one stack home."""

    def __init__(self, layout: Layout, settings: Settings, java: Path, program: Path) -> None:
        self._layout = layout
        self._settings = settings
        self._java = java
        self._program = program
        self._data = layout.home / "kafka"
        self._server = layout.conf / "kafka.properties"
        self._logging = layout.conf / "kafka-log4j2.properties"

    def command(self) -> Command:
        self._configure()
        return Command(
            name="kafka",
            argv=[*self._jvm(*java.keep_classes(self._program)), "kafka.Kafka", str(self._server)],
            cwd=self._layout.home,
            watched_files=(self._server, self._logging),
            stop_seconds=30,
        )

    def format(self) -> None:
        """Give a new data folder its cluster id."""
        if (self._data / "meta.properties").exists():
            return
        self._configure()
        cluster = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        command = [*self._jvm(), "kafka.tools.StorageTool", "format", "-t", f"A{cluster[1:]}"]
        command += ["-c", str(self._server)]
        completed = subprocess.run(command, capture_output=True, text=True, check=False)
        if completed.returncode:
            raise StackError(
                f"Kafka's storage could not be formatted: {completed.stdout}{completed.stderr}"
            )

    def ready(self) -> bool:
        return ports.answers(self._settings.port("kafka"))

    def _configure(self) -> None:
        self._server.write_text(
            _SERVER.format(
                port=self._settings.port("kafka"),
                controller=self._settings.port("kafka_controller"),
                data=self._data,
            ),
            encoding="utf-8",
        )
        self._logging.write_text(_LOGGING, encoding="utf-8")

    def _jvm(self, *options: str) -> list[str]:
        return [
            str(self._java),
            *options,
            "-Xms192m",
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            f"-Dlog4j2.configurationFile={self._logging}",
            "-cp",
            f"{self._program}/*",
        ]
