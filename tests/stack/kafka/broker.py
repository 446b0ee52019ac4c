"""Starts a separate Kafka broker with TLS, SASL and ACLs on free loopback ports."""

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

USER, PASSWORD = "sink", "correct horse"
USER_WITHOUT_ACL = "stranger"
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
user_{user}="{password}" user_{user_without_acl}="{password}";
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
    """The addresses of its listeners, and the files for its clients."""

    internal: str
    """The listener without TLS; its clients are superusers."""
    sasl: str
    mtls: str
    authority: Authority
    folder: Path


@contextmanager
def run_broker(folder: Path) -> Iterator[Broker]:
    """Start a broker without data; stop it when the block is left."""
    directories = layout.find(os.environ)
    directories.make()
    versions = envfile.load(directories.root / "compose" / "versions.env")
    programs = Installer(directories, versions, os.environ).install(Reporter())
    authority = Authority(folder)
    certificate, key = authority.issue("broker")
    (folder / "broker.pem").write_text(key.read_text() + certificate.read_text())
    free_ports: list[int] = []
    for _ in range(4):
        free_ports.append(ports.any_free(frozenset(free_ports)))
    internal, sasl, mtls, controller = free_ports
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
            user_without_acl=USER_WITHOUT_ACL,
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
    for credentials in scram:
        formatting += ["--add-scram", credentials]
    subprocess.run(formatting, check=True, capture_output=True)
    with (folder / "broker.log").open("wb") as log:
        process = subprocess.Popen(
            [*java, "kafka.Kafka", str(server)], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + 90
            while not ports.answers(sasl):
                assert process.poll() is None, (folder / "broker.log").read_text()
                assert time.monotonic() < deadline
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
