"""The Kubernetes manifests are valid, and agree with the programs that they start."""

import configparser
import json
import pwd
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import certifi
import click
import jsonschema
import kubernetes_validate
import pytest
import yaml
from sink_runner import config as settings
from sink_runner.cli import program as runner_program
from sink_runner.health import server
from sink_runner.kafka.connection import KafkaConnection
from sink_runner.model.status import Health

from sink_stack import cli, envfile, topics
from sink_stack.settings import DATABASES

from . import cluster as lookups
from .cluster import Cluster

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "compose" / "kubernetes"
HERE = Path(__file__).parent
OVERLAYS = ("small", "production")
KUBERNETES = "1.37"
SECRETS = re.compile(r"/run/secrets/([\w-]+)/([\w.-]+)")
VARIABLE = re.compile(r"\$\{(CAPTURE_\w+)\}")
GUIDE = ROOT / "docs" / "guide" / "kubernetes.md"


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """The command that renders a folder with kustomize."""
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    if not shutil.which("go"):
        pytest.fail("neither `kubectl` nor `go` is here to render compose/kubernetes with")
    program = tmp_path_factory.mktemp("kustomize") / "kustomize-build"
    folder = HERE / "kustomize_build"
    subprocess.run(["go", "build", "-o", program, "."], cwd=folder, check=True)
    return [str(program)]


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request):
    return request.param


@pytest.fixture(scope="module")
def cluster(build, overlay):
    return render(build, overlay)


@pytest.fixture(scope="module")
def production(build):
    return render(build, "production")


def render(build, overlay):
    rendered = subprocess.run(
        [*build, str(FOLDER / overlay)], check=True, capture_output=True, text=True
    )
    return Cluster([*yaml.safe_load_all(rendered.stdout)])


@pytest.fixture
def config(cluster, tmp_path):
    """The settings that a runner of the overlay reads, with made-up secrets."""
    text = cluster.config_map("sink-runner-files")["sink-runner.toml"]
    for _, name in SECRETS.findall(text):
        content = Path(certifi.where()).read_text() if name.endswith(".pem") else "made up"
        (tmp_path / name).write_text(content)
    (tmp_path / "sink-runner.toml").write_text(SECRETS.sub(rf"{tmp_path}/\2", text))
    environ = lookups.variables(cluster.containers()["sink-runner"], cluster)
    return settings.load(tmp_path / "sink-runner.toml", environ).config()


def validate(resources):
    monitor = json.loads((HERE / "pod-monitor.schema.json").read_text())
    for resource in resources:
        if resource["kind"] == "PodMonitor":
            jsonschema.validate(resource, monitor)
        else:
            kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def test_resources_match_schema_of_kubernetes(cluster):
    validate(cluster.resources)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("replicas: 2", "replicas: two"),
        ("maxSurge: 1", "maxSurges: 1"),
        ("kind: Service\n", "kind: Services\n"),
    ],
)
def test_mistake_is_found_by_schema(build, tmp_path, right, wrong):
    shutil.copytree(FOLDER, tmp_path / "compose" / "kubernetes")
    for name in ("ranger-policies", "debezium-config"):
        (tmp_path / name).symlink_to(ROOT / name)
    file = tmp_path / "compose" / "kubernetes" / "base" / "api.yaml"
    text = file.read_text()
    assert right in text
    file.write_text(text.replace(right, wrong))
    rendered = subprocess.run(
        [*build, str(tmp_path / "compose" / "kubernetes" / "base")],
        check=False,
        capture_output=True,
        text=True,
    )
    if rendered.returncode:
        return  # kustomize itself refuses it
    resources = [*yaml.safe_load_all(rendered.stdout)]
    errors = (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError)
    with pytest.raises(errors):
        validate(resources)


def test_images_are_built_here_with_own_version(cluster):
    project = configparser.ConfigParser()
    project.read(ROOT / "setup.cfg")
    versions = envfile.load(ROOT / "compose" / "versions.env")
    tags = {
        "sink-runner": project["metadata"]["version"],
        "sink-debezium": versions["DEBEZIUM_VERSION"],
    }
    for container in cluster.containers().values():
        name, tag = container["image"].rpartition("/")[2].split(":")
        assert tag == tags[name]


def test_commands_exist_with_their_options(cluster):
    programs = {"sink-runner": runner_program.program, "sink-stack": cli.program}
    for container in cluster.containers().values():
        if "args" in container:
            name, command, *options = container["args"]
            found = programs[name].get_command(click.Context(programs[name]), command)
            known = {option for each in found.params for option in each.opts}
            assert {one for one in options if one.startswith("--")} <= known


def test_ports_equal_those_of_settings(cluster, config):
    found = {name: lookups.port_numbers(one) for name, one in cluster.containers().items()}
    ports = {name: numbers for name, numbers in found.items() if numbers}
    debezium = {name: {"health": 8080} for name in ports if name.startswith("debezium-")}
    assert ports == {
        "sink-runner": {"health": config.health.port},
        "sink-api": {"http": config.api.port},
        **debezium,
    }
    assert {config.health.host, config.api.host} == {"0.0.0.0"}
    if debezium:
        assert cluster.config_map("debezium-environment")["CAPTURE_HTTP_PORT"] == "8080"


def test_probes_use_served_paths_and_ports(cluster):
    api = (ROOT / "sink_runner" / "api" / "app.py").read_text()
    compose = (ROOT / "compose" / "compose.yaml").read_text()
    for name, container in cluster.containers().items():
        for path, port in lookups.probes(container):
            assert port in lookups.port_numbers(container)
            if name == "sink-runner":
                assert server.respond(Health(), path)[0] != server.HTTPStatus.NOT_FOUND
            elif name == "sink-api":
                assert f'@app.get("{path}"' in api
            else:
                assert f"GET {path} HTTP" in compose


def test_runner_and_api_have_all_probes(cluster):
    for name in ("sink-runner", "sink-api"):
        assert len([*lookups.probes(cluster.containers()[name])]) == 3


def test_config_map_is_read_by_own_reader(cluster, config):
    brokers = [*KafkaConnection.of(config.kafka).brokers()]
    assert len(brokers) == len(
        cluster.config_map("sink-runner-environment")["SINK_KAFKA"].split(",")
    )
    assert config.kafka.security.is_encrypted
    assert config.registry.is_encrypted
    assert set(config.databases) == set(DATABASES.values())
    for database in config.databases.values():
        for dsn in (database.dsn, database.reader_dsn):
            assert "password='made up'" in dsn.conninfo()
            assert "sslmode=verify-full" in dsn.conninfo()


def test_settings_use_every_variable(cluster):
    text = cluster.config_map("sink-runner-files")["sink-runner.toml"]
    used = set(re.findall(r'env = "(\w+)"', text))
    assert used == set(cluster.config_map("sink-runner-environment"))


def test_mounted_paths_are_those_of_settings(cluster, config):
    mounts = {one["mountPath"] for one in cluster.containers()["sink-runner"]["volumeMounts"]}
    assert str(config.policies.directory) in mounts
    variables = lookups.variables(cluster.containers()["sink-runner"], cluster)
    assert str(Path(variables["SINK_CONFIG"]).parent) in mounts
    assert config.capture.directory.relative_to("/app") == Path("debezium-config")
    assert "WORKDIR /app\n" in (ROOT / "compose" / "Dockerfile").read_text()


def test_policies_are_those_of_repository(cluster):
    files = {path.name: path.read_text() for path in (ROOT / "ranger-policies").glob("*.json")}
    assert cluster.config_map("ranger-policies") == files


def test_guide_lists_every_file_of_secrets(cluster):
    listed = {
        secret: set(re.findall(r"--from-file=([\w.-]+)", command))
        for secret, command in re.findall(
            r"kubectl create secret generic (\S+)(.*?)(?=\n\$|\n```)",
            GUIDE.read_text().replace("\\\n", ""),
            re.DOTALL,
        )
    }
    texts = [json.dumps(one) for one in cluster.resources]
    used: dict[str, set[str]] = {}
    for secret, name in SECRETS.findall("".join(texts)):
        used.setdefault(secret, set()).add(name)
    assert used == {secret: listed[secret] for secret in used}


def test_secrets_are_mounted_and_never_variables(cluster):
    for name, pod in cluster.pods().items():
        mounted = {one["secret"]["secretName"] for one in pod["spec"]["volumes"] if "secret" in one}
        assert len(mounted) == 1, name
        container = cluster.containers()[name]
        lookups.variables(container, cluster)  # all of them are texts of the manifests
        paths = {one["mountPath"] for one in container["volumeMounts"]}
        assert {f"/run/secrets/{secret}" for secret in mounted} <= paths
    assert cluster.of_kind("Secret") == []


def test_pods_have_no_privileges(cluster):
    for name, pod in cluster.pods().items():
        security, container = pod["spec"]["securityContext"], cluster.containers()[name]
        assert security["runAsNonRoot"] is True
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert {"memory"} <= container["resources"]["limits"].keys()
        if not name.startswith("debezium-"):
            assert security["runAsUser"] == image_user()


def image_user():
    """Return the number of the user that compose/Dockerfile names."""
    (name,) = re.findall(r"^USER (\w+)$", (ROOT / "compose/Dockerfile").read_text(), re.MULTILINE)
    return pwd.getpwnam(name).pw_uid


def test_selectors_match_the_intended_pods(cluster):
    runners = {"sink-runner", "sink-api", "sink-schedule", "sink-migrate", "sink-topics"}
    intended = {"sink-metrics": {"sink-runner"}, "sink-api": {"sink-api"}}
    intended |= {"debezium": {"debezium-citizen", "debezium-warehouse"}}
    for policy in cluster.of_kind("NetworkPolicy"):
        found = cluster.selected(policy["spec"]["podSelector"]["matchLabels"])
        name = policy["metadata"]["name"]
        assert found == (runners if name == "sink-runner" else intended[name])
    for budget in cluster.of_kind("PodDisruptionBudget"):
        found = cluster.selected(budget["spec"]["selector"]["matchLabels"])
        assert found == {budget["metadata"]["name"]}
    service = cluster.named("Service", "sink-api")
    assert cluster.selected(service["spec"]["selector"]) == {"sink-api"}
    for workload in cluster.of_kind("Deployment", "StatefulSet"):
        labels = workload["spec"]["selector"]["matchLabels"]
        assert cluster.selected(labels) == {workload["metadata"]["name"]}


def test_network_policy_permits_every_server(cluster, config):
    servers = {port for _, port in KafkaConnection.of(config.kafka).brokers()}
    servers |= {int(url.split("/")[2].rpartition(":")[2]) for url in config.registry.urls}
    servers |= {5432, 53}
    for policy in cluster.of_kind("NetworkPolicy"):
        if "Egress" in policy["spec"]["policyTypes"]:
            rules = policy["spec"]["egress"]
            assert {port["port"] for rule in rules for port in rule["ports"]} == servers


def test_pods_have_time_to_finish_a_batch(cluster, config):
    pod = cluster.pods()["sink-runner"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > config.shutdown_seconds


def test_pod_monitor_scrapes_job_of_alerts(production):
    monitor = production.named("PodMonitor", "sink-runner")["spec"]
    (name,) = production.selected(monitor["selector"]["matchLabels"])
    job = production.pods()[name]["metadata"]["labels"][monitor["jobLabel"]]
    alerts = (ROOT / "sink_runner" / "health" / "alerts.yml").read_text()
    assert set(re.findall(r'job="([^"]+)"', alerts)) == {job}
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in lookups.port_numbers(production.containers()[name])
    assert server.respond(Health(), endpoint["path"])[0] == server.HTTPStatus.OK


def test_production_survives_loss_of_one_broker(production, tmp_path):
    files = production.config_map("sink-runner-files")
    (tmp_path / "topics.toml").write_text(files["topics.toml"])
    found = topics.declared(ROOT / "compose" / "topics.toml", tmp_path / "topics.toml")
    assert {(one.replication_factor, one.min_insync_replicas) for one in found} == {(3, 2)}
    for name in ("sink-runner-environment", "debezium-environment"):
        data = production.config_map(name)
        assert len(data.get("SINK_KAFKA", data.get("CAPTURE_KAFKA", "")).split(",")) == 3
    common = production.config_map("debezium-config")["common.properties"]
    assert "debezium.sink.kafka.producer.acks=all\n" in common


def test_production_runs_one_debezium_for_each_database(production):
    sets = {one["metadata"]["name"]: one["spec"] for one in production.of_kind("StatefulSet")}
    assert {name: spec["replicas"] for name, spec in sets.items()} == {
        f"debezium-{name}": 1 for name in DATABASES
    }
    files = production.config_map("debezium-config")
    for name in DATABASES:
        variables = lookups.variables(production.containers()[f"debezium-{name}"], production)
        read = [Path(path).name for path in variables["QUARKUS_CONFIG_LOCATIONS"].split(",")]
        assert read == [
            *("common.properties", f"{name}.properties", "secure.properties"),
            "passwords.properties",
        ]
        needed = {one for file in read[:-1] for one in VARIABLE.findall(files[file])}
        passwords = set(re.findall(r"^(CAPTURE_\w+)=", GUIDE.read_text(), re.MULTILINE))
        assert needed - variables.keys() == passwords


def test_topics_override_is_readable(cluster):
    tomllib.loads(cluster.config_map("sink-runner-files")["topics.toml"])
