"""The bare client, in a process of its own: `python -m benchmarks.ingress.raw closed|open ...`. Prints one JSON line.

`closed` keeps a number of calls under way and counts them; `open` begins them at a fixed rate, whatever the answers do, and prints the
milliseconds from the moment at which each was due to its answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

from temporalio.client import Client

from benchmarks.ingress.records import request
from benchmarks.ingress.starting import start
from benchmarks.ingress.window import OwnWindow
from headrace import temporal
from headrace.lifecycle import leave
from headrace.settings import load
from schemas.request import Origin


def _origin(number: int, key: str) -> Origin:
    return Origin(topic="image.requests", partition=0, offset=number, key=key.encode())


async def closed(client: Client, *, concurrency: int, warm: float, seconds: float) -> None:
    window, number = OwnWindow(warm=warm, seconds=seconds), 0

    async def one_after_another() -> None:
        nonlocal number
        going = True
        while going:
            number += 1
            wanted = request(number)
            await start(client, wanted, _origin(number, wanted.user_id))
            going = window.started()

    await asyncio.gather(*(one_after_another() for _ in range(concurrency)))
    window.print()


async def at_rate(client: Client, *, rate: float, warm: float, seconds: float) -> None:
    took: list[float] = []

    async def one(number: int, due: float) -> None:
        wanted = request(number)
        await start(client, wanted, _origin(number, wanted.user_id))
        if due >= opens:
            took.append((time.monotonic() - due) * 1000)

    began = time.monotonic()
    opens = began + warm
    async with asyncio.TaskGroup() as calls:
        for number in range(int(rate * (warm + seconds))):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            calls.create_task(one(number, due))
    print(json.dumps(took), flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["closed", "open"])
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1)
    parser.add_argument("--warm", type=float, default=2)
    parser.add_argument("--seconds", type=float, default=5)
    given = parser.parse_args()
    client = await temporal.connect(load())
    if given.mode == "closed":
        await closed(client, concurrency=given.concurrency, warm=given.warm, seconds=given.seconds)
    else:
        await at_rate(client, rate=given.rate, warm=given.warm, seconds=given.seconds)


if __name__ == "__main__":
    asyncio.run(main())
    leave(0)
