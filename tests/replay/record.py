"""`python -m tests.replay.record [WORKFLOW ...]`: records new histories beside the old ones.

The old ones stay: runs in flight may be of any of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import sys
from pathlib import Path

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from headrace.lifecycle import leave
from tests.replay import analysis, image, learning, maintenance, reconcile, redrive, transaction
from tests.support.runs import COMPENSATION, Cases

FOLDER = Path(__file__).parent / "histories"
_SUMS = FOLDER / "SHA256SUMS"

CASES: dict[str, Cases] = {
    **image.CASES,
    **learning.CASES,
    **analysis.CASES,
    **transaction.CASES,
    **maintenance.CASES,
    **redrive.CASES,
    **reconcile.CASES,
}
"""By workflow and by how it ends: each starts a run and comes back when it has ended."""


def sums() -> dict[str, str]:
    """The SHA-256 of each history that was ever recorded, in hexadecimal, by file name. As `sha256sum` writes it."""
    lines = (line.split() for line in _SUMS.read_text().splitlines())
    return {name: digest for digest, name in lines}


def _keep(name: str, text: str) -> None:
    (FOLDER / name).write_text(text)
    with _SUMS.open("a") as file:
        file.write(f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n")


async def main(workflows: list[str]) -> None:
    """One history of each case."""
    FOLDER.mkdir(exist_ok=True)
    temporal = str(Path(sys.executable).parent / "temporal")
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=temporal, data_converter=pydantic_data_converter, search_attributes=[COMPENSATION]
    ) as environment:
        for name in workflows or CASES:
            version = 1 + max((int(path.stem.rsplit("-", 1)[1]) for path in FOLDER.glob(f"{name}-*.json")), default=0)
            for case, run in CASES[name].items():
                handle = await run(environment.client)
                _keep(
                    f"{name}-{case}-{version}.json",
                    (await handle.fetch_history())
                    .to_json()
                    .replace(f"{FOLDER.parents[2]}/", "")  # stack traces name this machine's folders
                    .replace(f"{Path(sys.prefix).parent}/", "")  # and those of an environment that lies elsewhere
                    .replace(f"@{socket.gethostname()}", "@machine"),  # and each worker's identity its name
                )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
    leave(0)
