"""The resources that an overlay of compose/kubernetes renders, and what tests look up in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Resource: TypeAlias = Mapping[str, Any]

WORKLOADS = ("Deployment", "StatefulSet", "Job")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The resources of one overlay."""

    resources: Sequence[Resource]

    def of_kind(self, *kinds: str) -> list[Resource]:
        return [one for one in self.resources if one["kind"] in kinds]

    def named(self, kind: str, name: str) -> Resource:
        (found,) = [one for one in self.of_kind(kind) if one["metadata"]["name"] == name]
        return found

    def config_map(self, name: str) -> Mapping[str, str]:
        """Return the data of a generated ConfigMap, whose name ends with a digest."""
        (found,) = [
            one["data"]
            for one in self.of_kind("ConfigMap")
            if one["metadata"]["name"].rpartition("-")[0] == name
        ]
        return found

    def pods(self) -> dict[str, Resource]:
        """Return the pod template of each workload, by its name."""
        return {
            one["metadata"]["name"]: one["spec"]["template"] for one in self.of_kind(*WORKLOADS)
        }

    def containers(self) -> dict[str, Resource]:
        """Return the only container of each workload, by the workload's name."""
        found = {}
        for name, pod in self.pods().items():
            (found[name],) = pod["spec"]["containers"]
        return found

    def selected(self, labels: Mapping[str, str]) -> set[str]:
        """Return the workloads whose pods have these labels."""
        return {
            name
            for name, pod in self.pods().items()
            if labels.items() <= pod["metadata"]["labels"].items()
        }


def probes(container: Resource) -> Iterator[tuple[str, str]]:
    """Yield path and port of each probe."""
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        if kind in container:
            request = container[kind]["httpGet"]
            yield request["path"], request["port"]


def port_numbers(container: Resource) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container.get("ports", ())}


def variables(container: Resource, cluster: Cluster) -> dict[str, str]:
    """Return the variables that a container gets; each is a text of the manifests."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        (kind, reference), *_ = source.items()
        assert kind == "configMapRef"
        found |= cluster.config_map(reference["name"].rpartition("-")[0])
    return found | {one["name"]: one["value"] for one in container.get("env", ())}
