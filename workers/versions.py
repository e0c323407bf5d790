"""Temporal's worker versioning, where it is asked for: one worker deployment for each domain. docs/upgrading.md says how it is used."""

from __future__ import annotations

from importlib import metadata

from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import WorkerDeploymentConfig

from headrace.settings import Settings


def deployment(settings: Settings, domain: str) -> WorkerDeploymentConfig | None:
    """What the workers of a domain say of themselves; None: nothing, they are unversioned.

    A deployment for each domain, since a version is made current for all queues of its deployment at one time, and domains are upgraded
    and scaled by themselves. A domain's queues belong together: a batch is on one, its children are on another.

    Pinned: a run ends on the code that it began with. A workflow of a team's own may say otherwise in its `workflow.defn`.
    """
    if settings.worker_deployment is None:
        return None
    build = settings.worker_build_id or metadata.version("headrace")
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment_name=f"{settings.worker_deployment}-{domain}", build_id=build),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.PINNED,
    )
