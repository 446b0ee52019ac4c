"""A Kafka broker of its own with TLS, SASL and ACLs, on free loopback ports."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sink_stack import envfile, layout, ports
from sink_stack.programs import Installer
from sink_stack.progress import Reporter

from ...support.certificates import Authority

USER, PASSWORD, MARK = "sink", "correct horse", "stranger"
"""`MARK` may sign in and has no ACL."""
_CLUSTER = "4L6g3nShT-eMCtK--X86sw"
_SERVER = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=INTERNAL://127.0.0.1:{internal},SASL_SSL://127.0.0.1:{sasl},SSL://127.0.0.1:{mtls},\
CONTROLLER://127.0.0.1:{controller}
advertised.listeners=INTERNAL://127.0.0.1:{internal},SASL_SSL://127.0.0.1:{sasl},\
SSL://127.0.0.1:{mtls}
inter.broker.listener.name=INTERNAL
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.sasl_ssl.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required \
user_{user}="{password}" user_{mark}="{password}";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-256.connections.max.reauth.ms=3000
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=\
org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
unsecuredLoginStringClaim_sub="broker";
"""
_LOGGING = """status=error
rootLogger.level=WARN
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c{1} %m%n
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where its listeners are, and the files of the clients."""

    internal: str
    """Without encryption; clients of this listener may do everything."""
    sasl: str
    mtls: str
    authority: Authority
    folder: Path


@contextmanager
def running(folder: Path) -> Iterator[Broker]:
    """Start a broker with fresh data, and end it after the block."""
    found = layout.find(os.environ)
    found.make()
    versions = envfile.load(found.root / "compose" / "versions.env")
    programs = Installer(found, versions, os.environ).install(Reporter())
    authority = Authority(folder)
    certificate, key = authority.issue("broker")
    (folder / "broker.pem").write_text(key.read_text() + certificate.read_text())
    taken: list[int] = []
    for _ in range(4):
        taken.append(ports.any_free(frozenset(taken)))
    internal, sasl, mtls, controller = taken
    server, logging = folder / "server.properties", folder / "log4j2.properties"
    server.write_text(
        _SERVER.format(
            internal=internal,
            sasl=sasl,
            mtls=mtls,
            controller=controller,
            folder=folder,
            keystore=folder / "broker.pem",
            ca=authority.file,
            user=USER,
            password=PASSWORD,
            mark=MARK,
        )
    )
    logging.write_text(_LOGGING)
    java = [str(programs.java), "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    java += [f"-Dlog4j2.configurationFile={logging}", "-cp", f"{programs.kafka}/*"]
    scram = [
        f"{mechanism}=[name={USER},password={PASSWORD}]"
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
    ]
    formatting = [*java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(server)]
    for one in scram:
        formatting += ["--add-scram", one]
    subprocess.run(formatting, check=True, capture_output=True)
    with (folder / "broker.log").open("wb") as log:
        process = subprocess.Popen(
            [*java, "kafka.Kafka", str(server)], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            bound = time.monotonic() + 90
            while not ports.answers(sasl):
                assert process.poll() is None, (folder / "broker.log").read_text()
                assert time.monotonic() < bound
                time.sleep(0.2)
            yield Broker(
                internal=f"127.0.0.1:{internal}",
                sasl=f"127.0.0.1:{sasl}",
                mtls=f"127.0.0.1:{mtls}",
                authority=authority,
                folder=folder,
            )
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
