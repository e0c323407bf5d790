"""The manifests below `deploy/kubernetes`: they are Kubernetes', and they fit the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

import notifier.__main__
import workers.__main__
from headrace import lifecycle
from headrace.settings import SECRETS_DIR_VARIABLE, Settings
from headrace.setup import PARTITIONS
from tests.support.kustomize import Resource, pod, render
from workers.registry import DOMAINS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
BASE = render(FOLDER / "base")
EXAMPLE = render(FOLDER / "example")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
KUBERNETES = "1.35"
"""matchLabelKeys of the spread over nodes came with 1.27; what is older is not supported by Kubernetes itself any more."""
OWN = ("keda.sh/v1alpha1", "monitoring.coreos.com/v1")


def of_kind(resources: list[Resource], *kinds: str) -> list[Resource]:
    return [resource for resource in resources if resource["kind"] in kinds]


def names(resources: list[Resource]) -> list[str]:
    return [resource["metadata"]["name"] for resource in resources]


DEPLOYMENTS = of_kind(BASE, "Deployment")
SCALED = of_kind(EXAMPLE, "ScaledObject")
WORKLOADS = of_kind(BASE, "Deployment", "Job")
CONFIGURATION: dict[str, str] = of_kind(BASE, "ConfigMap")[0]["data"]
each_workload = pytest.mark.parametrize("workload", WORKLOADS, ids=names(WORKLOADS))
each_deployment = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=names(DEPLOYMENTS))


def container(workload: Resource) -> dict[str, Any]:
    (found,) = pod(workload)["containers"]
    assert isinstance(found, dict)
    return found


def domain_of(name: str) -> str:
    return name.removeprefix("headrace-workers-")


def test_every_resource_is_valid_by_the_schemas_of_kubernetes() -> None:
    checked = [resource for resource in BASE + EXAMPLE if resource["apiVersion"] not in OWN]
    assert len(checked) > 30
    for resource in checked:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def test_every_domain_and_service_has_its_deployment() -> None:
    domains = {domain_of(name) for name in names(DEPLOYMENTS) if name.startswith("headrace-workers-")}
    assert domains == DOMAINS.keys()
    assert set(names(DEPLOYMENTS)) == {"headrace-ingress", "headrace-notifier", *(f"headrace-workers-{domain}" for domain in domains)}
    started = {tuple(container(workload)["args"]) for workload in WORKLOADS}
    assert started == {("setup",), ("ingress",), ("notifier",), *(("workers", "--domain", domain) for domain in domains)}


@each_workload
def test_no_process_can_do_more_than_it_must(workload: Resource) -> None:
    whole, own = pod(workload)["securityContext"], container(workload)["securityContext"]
    assert (whole["runAsNonRoot"], whole["runAsUser"], whole["seccompProfile"]["type"]) == (True, 10001, "RuntimeDefault")
    assert own == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert pod(workload)["automountServiceAccountToken"] is False
    written = {volume["name"] for volume in pod(workload)["volumes"] if "emptyDir" in volume}
    mounts = {mount["mountPath"]: mount for mount in container(workload)["volumeMounts"]}
    assert {mount["mountPath"] for mount in mounts.values() if mount["name"] in written} == {"/tmp"}  # noqa: S108 - the pod's own
    assert mounts[CONFIGURATION[SECRETS_DIR_VARIABLE]]["readOnly"] is True
    assert container(workload)["resources"]["limits"].keys() == {"memory"}


@each_workload
def test_an_image_is_one_of_ours_in_this_version(workload: Resource) -> None:
    kind = "workers" if workload["metadata"]["name"].startswith("headrace-workers") else "service"
    assert container(workload)["image"] == f"headrace-{kind}:{VERSION}"


def test_the_images_are_called_as_they_are_built() -> None:
    wanted = {container(workload)["image"] for workload in WORKLOADS}
    for file in (ROOT / "Dockerfile", ROOT / "docker-compose.yml"):
        if file.exists():
            text = file.read_text("utf-8").replace("${TAG:-", "")
            assert set(re.findall(r"\bheadrace-(?:service|workers):[0-9.]*[0-9]", text)) == wanted, file.name


@pytest.mark.parametrize("resources", [BASE, EXAMPLE], ids=["base", "example"])
def test_every_variable_is_a_setting_with_a_value_that_it_takes(resources: list[Resource], monkeypatch: pytest.MonkeyPatch) -> None:
    (map_,) = of_kind(resources, "ConfigMap")
    settings = {f"HEADRACE_{name.upper()}" for name in Settings.model_fields} | {
        "TEMPORAL_ADDRESS",
        "TEMPORAL_NAMESPACE",
        SECRETS_DIR_VARIABLE,
    }
    assert map_["data"].keys() <= settings
    for name, value in map_["data"].items():
        monkeypatch.setenv(name, value)
    Settings()
    secret = {name for name, field in Settings.model_fields.items() if "Secret" in str(field.annotation)} | {"database_url"}
    assert "@" not in map_["data"].get("HEADRACE_SCHEMA_REGISTRY_URL", ""), "with a key in it, it belongs into the Secret"
    secret -= {"schema_registry_url"}
    assert not {f"HEADRACE_{name.upper()}" for name in secret} & map_["data"].keys()


@each_deployment
def test_the_probes_ask_the_port_that_the_process_serves(deployment: Resource) -> None:
    ports = {port["name"]: port["containerPort"] for port in container(deployment)["ports"]}
    assert ports["health"] == int(CONFIGURATION["HEADRACE_HEALTH_PORT"])
    assert ports.get("sdk-metrics", 9464) == int(CONFIGURATION["HEADRACE_TEMPORAL_METRICS_PORT"])
    assert CONFIGURATION["HEADRACE_HEALTH_HOST"] == "0.0.0.0"  # noqa: S104 - the pod's own network
    asked = {probe: container(deployment)[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {get["port"] for get in asked.values()} == {"health"}
    assert [get["path"] for get in asked.values()] == ["/healthz", "/healthz", "/readyz"]


@each_deployment
def test_a_process_has_the_time_to_end_what_it_has_begun(deployment: Resource) -> None:
    settings = Settings()
    takes = max(
        settings.ingress_drain_seconds + settings.ingress_start_seconds,
        workers.__main__._GRACE.total_seconds(),
        notifier.__main__._GRACE.total_seconds(),
    )
    grace = pod(deployment)["terminationGracePeriodSeconds"]
    assert grace >= 2 * takes
    assert grace > lifecycle._END_SECONDS + settings.ingress_drain_seconds, "one that hangs ends by itself, and says so"


def test_a_drained_node_never_takes_the_last_process_of_a_service() -> None:
    for deployment in DEPLOYMENTS:
        labels = deployment["spec"]["selector"]["matchLabels"]
        assert labels.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
        (budget,) = [found for found in of_kind(BASE, "PodDisruptionBudget") if found["spec"]["selector"]["matchLabels"] == labels]
        assert (budget["spec"]["maxUnavailable"], deployment["spec"]["replicas"]) == (1, 2)


def test_every_deployment_but_the_notifier_is_scaled_by_what_waits_for_it() -> None:
    targets = {scaled["spec"]["scaleTargetRef"]["name"]: scaled["spec"] for scaled in SCALED}
    assert targets.keys() == set(names(DEPLOYMENTS)) - {"headrace-notifier"}
    for name, spec in targets.items():
        assert 2 <= spec["minReplicaCount"] <= spec["maxReplicaCount"]
        assert {trigger["type"] for trigger in spec["triggers"]} == {"kafka" if name == "headrace-ingress" else "temporal"}
        (scaled,) = [found for found in of_kind(EXAMPLE, "Deployment") if found["metadata"]["name"] == name]
        assert "replicas" not in scaled["spec"]


def test_the_ingress_is_scaled_by_the_lag_of_its_own_group_and_never_beyond_its_partitions() -> None:
    (spec,) = [scaled["spec"] for scaled in SCALED if scaled["metadata"]["name"] == "headrace-ingress"]
    (trigger,) = spec["triggers"]
    assert spec["maxReplicaCount"] == PARTITIONS
    assert trigger["metadata"]["consumerGroup"] == Settings.model_fields["ingress_group"].default
    assert trigger["metadata"]["bootstrapServersFromEnv"] in CONFIGURATION


@pytest.mark.parametrize("domain", DOMAINS)
def test_workers_are_scaled_by_the_backlog_of_each_of_their_queues(domain: str) -> None:
    (spec,) = [scaled["spec"] for scaled in SCALED if scaled["metadata"]["name"] == f"headrace-workers-{domain}"]
    metadata = [trigger["metadata"] for trigger in spec["triggers"]]
    assert {found["taskQueue"] for found in metadata} == DOMAINS[domain].queues.keys()
    for found in metadata:
        assert found["endpointFromEnv"] in CONFIGURATION
        assert found["namespace"] == CONFIGURATION["TEMPORAL_NAMESPACE"]
        assert all(isinstance(value, str) for value in found.values())


def test_the_setup_can_be_applied_before_the_services_with_all_that_it_needs() -> None:
    first = [resource for resource in BASE if resource["metadata"].get("labels", {}).get("headrace-step") == "setup"]
    assert sorted(found["kind"] for found in first) == ["ConfigMap", "Job", "ServiceAccount"]


def test_every_port_with_metrics_is_read() -> None:
    (monitor,) = of_kind(EXAMPLE, "PodMonitor")
    ports = {port["name"] for deployment in DEPLOYMENTS for port in container(deployment)["ports"]}
    assert {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]} == ports
