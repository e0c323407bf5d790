"""Worker versions of a task queue: which is current, and whose work waits for workers that are not there. Temporal says it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import WorkerDeploymentVersionStatus, WorkerVersioningMode
from temporalio.api.taskqueue.v1 import PollerInfo
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueResponse,
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentVersionRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

_BUSY_SECONDS = 5.0
"""Tasks that have waited for longer wait for more than their turn. Those that nobody takes are put in anew after some 10 s, young again."""


@dataclass(frozen=True, slots=True)
class Version:
    """One build of a worker deployment."""

    deployment: str
    build_id: str

    def __str__(self) -> str:
        return f"{self.deployment} {self.build_id}"


@dataclass(frozen=True, slots=True)
class Pinned:
    """What waits in a queue for a version that takes no new runs: tasks of runs that began on it."""

    version: Version
    tasks: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Versions:
    """Of one queue. Without worker versioning nothing is current, nothing is pinned, and all that asks is unversioned."""

    current: Version | None
    ramping: Version | None
    """It is given a share of the new runs."""
    asking: frozenset[Version | None]
    """The versions of the workers that have asked within the last minutes; None: unversioned ones."""
    pinned: tuple[Pinned, ...]


async def versions(client: Client, queue: str, answers: Collection[DescribeTaskQueueResponse]) -> Versions:
    """Of a queue, of whose kinds of tasks Temporal has answered. Raises `RPCError`."""
    pollers = [poller for answer in answers for poller in answer.pollers]
    routed = [answer.versioning_info for answer in answers]
    current = next((_version(found.current_deployment_version) for found in routed if found.HasField("current_deployment_version")), None)
    ramping = next(
        (_version(found.ramping_deployment_version) for found in routed if found.HasField("ramping_deployment_version")),
        None,
    )
    asking = frozenset(map(_of_poller, pollers))
    deployments = {version.deployment for version in (current, ramping, *asking) if version is not None}
    pinned = await asyncio.gather(*(_pinned(client, queue, deployment) for deployment in sorted(deployments)))
    return Versions(current, ramping, asking, tuple(found for each in pinned for found in each))


def in_vain(found: Versions) -> list[str]:
    """For each version whose work waits, and for workers that get none: why, and what to do."""
    told = [
        f"{pinned.tasks} tasks of runs that are pinned to {pinned.version} wait, the oldest for {pinned.oldest_seconds:.0f} s:"
        " its workers must run until it is drained"
        for pinned in found.pinned
        if pinned.version not in found.asking or pinned.oldest_seconds > _BUSY_SECONDS
    ]
    versioned = sorted((version for version in found.asking if version is not None), key=str)
    if found.current is None:
        if versioned and None not in found.asking:
            told.append(
                f"its workers are versioned ({', '.join(map(str, versioned))}) and no version is current, so new runs wait:"
                f" temporal worker deployment set-current-version {_named(versioned[-1])}"
            )
        return told
    if None in found.asking:
        told.append(
            f"unversioned workers get no tasks, since {found.current} is current: set HEADRACE_WORKER_DEPLOYMENT for them, or give them all"
            f" new runs with temporal worker deployment set-current-version --deployment-name {found.current.deployment} --unversioned"
        )
    told += [
        f"{version} is {how}, and no worker of it asks for tasks, so new runs wait: start one, or choose another with"
        f" temporal worker deployment {command} --deployment-name {version.deployment} --build-id BUILD"
        for version, how, command in (
            (found.current, "current", "set-current-version"),
            (found.ramping, "ramping", "set-ramping-version"),
        )
        if version is not None and version not in found.asking
    ]
    return told


def _named(version: Version) -> str:
    return f"--deployment-name {version.deployment} --build-id {version.build_id}"


def _version(told: WorkerDeploymentVersion) -> Version:
    return Version(told.deployment_name, told.build_id)


def _of_poller(poller: PollerInfo) -> Version | None:
    options = poller.deployment_options
    if options.worker_versioning_mode != WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED:
        return None
    return Version(options.deployment_name, options.build_id)


async def _pinned(client: Client, queue: str, deployment: str) -> Iterable[Pinned]:
    """What waits for each of the deployment's versions that is being drained."""
    try:
        answer = await client.workflow_service.describe_worker_deployment(
            DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=deployment)
        )
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:  # its first worker has only just asked
            return []
        raise
    draining = [
        summary.deployment_version
        for summary in answer.worker_deployment_info.version_summaries
        if summary.status == WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING
    ]
    waiting = await asyncio.gather(*(_waiting(client, queue, version) for version in draining))
    return [found for found in waiting if found.tasks]


async def _waiting(client: Client, queue: str, version: WorkerDeploymentVersion) -> Pinned:
    answer = await client.workflow_service.describe_worker_deployment_version(
        DescribeWorkerDeploymentVersionRequest(namespace=client.namespace, deployment_version=version, report_task_queue_stats=True)
    )
    kinds = [found.stats for found in answer.version_task_queues if found.name == queue]
    return Pinned(
        _version(version),
        sum(stats.approximate_backlog_count for stats in kinds),
        max((stats.approximate_backlog_age.ToTimedelta().total_seconds() for stats in kinds), default=0.0),
    )
