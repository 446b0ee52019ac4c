"""The compose file, parsed by Docker Compose's own parser."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sink_stack import envfile, settings
from sink_stack.postgres import SERVER_SETTINGS

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose" / "compose.yaml"
VERSIONS = ROOT / "compose" / "versions.env"
ONLY_NATIVE = {"listen_addresses", "unix_socket_directories"}


@pytest.fixture(scope="session")
def parser(tmp_path_factory):
    """The command that resolves a compose file, or fails if it is invalid."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if shutil.which("docker") and plugin.returncode == 0:
        return ["docker", "compose", "--profile", "*", "-f"], ["config", "--format", "json"]
    if not shutil.which("go"):
        pytest.fail("neither `docker compose` nor `go` is here to read compose.yaml with")
    checker = tmp_path_factory.mktemp("compose") / "compose-check"
    folder = Path(__file__).with_name("compose_check")
    subprocess.run(["go", "build", "-o", checker, "."], cwd=folder, check=True)
    return [str(checker)], []


@pytest.fixture
def resolve(parser, home):
    """Resolve a compose file with the pinned versions and a home's settings."""
    values = settings.prepare(home, {}, lambda _: False).values
    environ = {**os.environ, **envfile.load(VERSIONS), **values}

    def run(path, **changed):
        before, after = parser
        return subprocess.run(
            [*before, str(path), *after],
            env={name: text for name, text in {**environ, **changed}.items() if text is not None},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def project(resolve):
    completed = resolve(COMPOSE)
    assert completed.returncode == 0, completed.stderr
    return json.loads(completed.stdout)


def test_compose_file_is_valid_and_complete(project):
    assert set(project["services"]) == {
        "postgres",
        "kafka",
        "registry",
        "init",
        "warehouse",
        "citizen",
        "runner",
        "api",
        "schedule",
        "airflow",
        "prometheus",
        "alertmanager",
        "grafana",
    }


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("service_healthy", "service_wealthy"),
        ("init: {condition", "unit: {condition"),
        ("healthcheck:", "healthczech:"),
        ("- postgres:/var", "- postgrass:/var"),
        ("restart: unless-stopped", "restart: [unless, stopped]"),
    ],
)
def test_invalid_compose_file_is_refused(resolve, right, wrong):
    text = COMPOSE.read_text()
    assert right in text
    broken = COMPOSE.with_name(".compose-broken.yaml")
    broken.write_text(text.replace(right, wrong))
    try:
        assert resolve(broken).returncode != 0
    finally:
        broken.unlink()


def test_missing_version_is_error_and_not_empty_tag(resolve):
    assert resolve(COMPOSE, KAFKA_VERSION=None).returncode != 0


def test_every_image_version_comes_from_versions_env(project):
    versions = envfile.load(VERSIONS)
    images = {name: service.get("image") for name, service in project["services"].items()}
    assert images["postgres"] == f"postgres:{versions['POSTGRES_VERSION']}"
    assert images["kafka"] == f"apache/kafka:{versions['KAFKA_VERSION']}"
    assert images["registry"] == f"apicurio/apicurio-registry:{versions['APICURIO_VERSION']}"
    assert images["prometheus"] == f"prom/prometheus:v{versions['PROMETHEUS_VERSION']}"
    assert images["alertmanager"] == f"prom/alertmanager:v{versions['ALERTMANAGER_VERSION']}"
    assert images["grafana"] == f"grafana/grafana:{versions['GRAFANA_VERSION']}"
    built = project["services"]["warehouse"]["build"]["args"]
    assert built["DEBEZIUM_VERSION"] == versions["DEBEZIUM_VERSION"]
    assert built["AVRO_VERSION"] == versions["AVRO_VERSION"]


def test_versions_are_only_in_versions_env():
    pinned = [text for text in envfile.load(VERSIONS).values() if "." in text]
    files = [COMPOSE, *COMPOSE.parent.glob("Dockerfile*"), *COMPOSE.parent.glob("src/**/*.py")]
    for path in files:
        for version in pinned:
            assert version not in path.read_text(), path


def test_postgresql_has_settings_of_native_one(project):
    command = project["services"]["postgres"]["command"]
    completed = dict(option.split("=", 1) for option in command if "=" in option)
    native = {name: text for name, text in SERVER_SETTINGS.items() if name not in ONLY_NATIVE}
    assert completed == native


@pytest.mark.parametrize("direction", settings.DATABASES)
def test_debezium_uses_files_of_native_stack(project, direction):
    service = project["services"][direction]
    mounted = {volume["target"]: volume["source"] for volume in service["volumes"]}
    assert Path(mounted["/sink"]).resolve() == ROOT / "debezium-config"
    locations = service["environment"]["QUARKUS_CONFIG_LOCATIONS"].split(",")
    assert locations == ["/sink/common.properties", f"/sink/{direction}.properties"]
    common = (ROOT / "debezium-config" / "common.properties").read_text()
    for name in service["environment"]:
        if name.startswith("CAPTURE_"):
            assert f"${{{name}}}" in common


def test_every_port_is_published_on_loopback_only(project):
    for service in project["services"].values():
        for port in service.get("ports", ()):
            assert port["host_ip"] == "127.0.0.1"


def test_every_long_running_part_has_healthcheck(project):
    without = {name for name, one in project["services"].items() if "healthcheck" not in one}
    assert without == {"init", "schedule"}
