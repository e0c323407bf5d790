"""Brings the tables up to date in a process of its own: `python -m tests.support.migrating URL [REVISION]`.

Says `ready` before it begins. With a revision it stops there, in the middle of its transaction, says `half` and waits to be killed.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from alembic import command
from alembic.config import Config

from headrace.store import migrate
from headrace.store.engine import engine


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main() -> None:
    url, *until = sys.argv[1:]
    whole = command.upgrade

    def half(config: Config, _: str, **given: Any) -> None:
        whole(config, until[0], **given)
        _say("half")
        time.sleep(3600)

    if until:
        vars(command)["upgrade"] = half
    made = engine(url)
    _say("ready")
    await migrate.upgrade(made)
    await made.dispose()


if __name__ == "__main__":
    asyncio.run(main())
