"""A team's own domain whose requests may be as large as they like: the text itself is in the request."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from headrace.settings import Settings
    from schemas.request import Accepted, Model, Request
    from workers.completion import concluded
    from workers.domain import Activities, Domain


class DocumentRequested(Request):
    text: str
    echoed: int = 0
    """How many characters of the text the result has."""


class DocumentResult(Model):
    sha256: str
    echo: str


@activity.defn(name="read_document")
async def read_document(document: DocumentRequested) -> DocumentResult:
    return DocumentResult(sha256=hashlib.sha256(document.text.encode()).hexdigest(), echo=document.text[: document.echoed])


@workflow.defn(name="DocumentWorkflow")
class DocumentWorkflow:
    @workflow.run
    async def run(self, accepted: Accepted[DocumentRequested]) -> DocumentResult:
        return await concluded(accepted, "acme.documents.DocumentCompleted", self._read(accepted.request))

    async def _read(self, document: DocumentRequested) -> DocumentResult:
        return await workflow.execute_activity(
            read_document, document, start_to_close_timeout=timedelta(seconds=60), retry_policy=RetryPolicy(maximum_attempts=3)
        )


@contextlib.asynccontextmanager
async def activities(_: Settings) -> AsyncIterator[Activities]:
    yield [read_document]


DOMAINS = {"documents": Domain({"acme-documents": [DocumentWorkflow]}, activities)}
