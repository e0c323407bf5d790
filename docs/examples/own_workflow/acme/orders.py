"""Orders: one workflow with one step, and what its workers run."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from headrace.settings import Settings
    from schemas.request import Accepted, Model, Request
    from workers.completion import concluded
    from workers.domain import Activities, Domain

OUT_OF_STOCK = "OutOfStock"


class OrderRequested(Request):
    item: str
    quantity: int = 1


class OrderResult(Model):
    order_number: str
    ships_at: datetime


@activity.defn(name="place_order")
async def place_order(order: OrderRequested) -> OrderResult:
    if order.item == "unicorn":
        raise ApplicationError("no unicorn is in stock: order a horse", type=OUT_OF_STOCK, non_retryable=True)
    # The event ID makes it one order, however often this step is tried.
    return OrderResult(order_number=f"A-{order.event_id}", ships_at=datetime.now(UTC) + timedelta(days=2))


@workflow.defn(name="OrderWorkflow")
class OrderWorkflow:
    @workflow.run
    async def run(self, accepted: Accepted[OrderRequested]) -> OrderResult:
        return await concluded(accepted, "acme.orders.OrderCompleted", self._order(accepted.request), codes=[OUT_OF_STOCK])

    async def _order(self, order: OrderRequested) -> OrderResult:
        return await workflow.execute_activity(
            place_order, order, start_to_close_timeout=timedelta(seconds=10), retry_policy=RetryPolicy(maximum_attempts=5)
        )


@contextlib.asynccontextmanager
async def activities(settings: Settings) -> AsyncIterator[Activities]:
    """Open what the steps need here: a database, an HTTP client."""
    yield [place_order]


DOMAINS = {"orders": Domain({"acme-orders": [OrderWorkflow]}, activities)}
