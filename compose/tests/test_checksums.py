"""A download whose checksum differs from the repository's is deleted and refused."""

import hashlib
import re
from pathlib import Path

import pytest

from sink_stack import envfile
from sink_stack.errors import StackError
from sink_stack.maven import Artifact, Maven

ROOT = Path(__file__).parents[2]
JAR = Artifact("org.example", "tool", "1.0")


@pytest.fixture
def maven(tmp_path):
    sums = tmp_path / "checksums.txt"
    sums.write_text(f"{hashlib.sha256(b'genuine').hexdigest()}  tool-1.0.jar\n")
    return Maven(
        repository=tmp_path / "m2", plugin_version="1", checksums=sums, log=tmp_path / "log"
    )


@pytest.fixture
def downloads(maven, tmp_path, monkeypatch):
    """Put an `mvn` on PATH that writes the given bytes to its repository and to the folder."""

    def serve(content):
        program, jar = tmp_path / "bin" / "mvn", maven.repository / JAR.path
        jar.parent.mkdir(parents=True)
        program.parent.mkdir()
        program.write_text(
            f"#!/bin/sh\nprintf {content} > {jar}\n"
            'for word; do case "$word" in -DoutputDirectory=*)'
            f' printf {content} > "${{word#*=}}/{jar.name}";; esac; done\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        return jar

    return serve


def test_genuine_download_is_kept(maven, downloads, tmp_path):
    jar = downloads("genuine")
    assert maven.get(JAR) == jar
    maven.copy_with_dependencies([JAR], tmp_path / "lib")
    assert (tmp_path / "lib" / jar.name).read_bytes() == b"genuine"


def test_tampered_download_is_refused_and_deleted(maven, downloads):
    jar = downloads("tampered")
    with pytest.raises(StackError, match=r"tool-1\.0\.jar has the SHA-256 sum .* was deleted"):
        maven.get(JAR)
    assert not jar.exists()


def test_tampered_dependency_is_deleted_from_maven_repository(maven, downloads, tmp_path):
    jar = downloads("tampered")
    with pytest.raises(StackError, match="SHA-256"):
        maven.copy_with_dependencies([JAR], tmp_path / "lib")
    assert not jar.exists()
    assert not (tmp_path / "lib" / jar.name).exists()


def test_file_changed_in_cache_is_refused(maven):
    jar = maven.repository / JAR.path
    jar.parent.mkdir(parents=True)
    jar.write_bytes(b"changed later")
    with pytest.raises(StackError, match="SHA-256"):
        maven.get(JAR)
    assert not jar.exists()


def test_download_without_checksum_is_refused(maven, downloads):
    downloads("genuine")
    maven.checksums.write_text("")
    with pytest.raises(StackError, match=r"has no sum for tool-1\.0\.jar.*then add the line"):
        maven.get(JAR)


def test_every_downloaded_version_has_checksum():
    stated = (ROOT / "compose" / "checksums.txt").read_text()
    version = envfile.load(ROOT / "compose" / "versions.env")
    postgres = f"-{version['POSTGRES_VERSION']}.0.jar"
    for name in (
        *(
            f"embedded-postgres-binaries-linux-{machine}{postgres}"
            for machine in ("amd64", "arm64v8")
        ),
        f"kafka_{version['KAFKA_SCALA_VERSION']}-{version['KAFKA_VERSION']}.jar",
        f"log4j-core-{version['LOG4J_VERSION']}.jar",
        f"apicurio-registry-app-{version['APICURIO_VERSION']}-all.tar.gz",
        f"debezium-server-dist-{version['DEBEZIUM_VERSION']}.tar.gz",
        f"avro-{version['AVRO_VERSION']}.jar",
        f"ecj-{version['ECJ_VERSION']}.jar",
        f"ranger-plugins-common-{version['RANGER_VERSION']}.jar",
    ):
        assert re.search(rf"^[0-9a-f]{{64}}  {re.escape(name)}$", stated, re.MULTILINE), name
