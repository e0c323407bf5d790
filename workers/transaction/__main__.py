"""`python -m workers.transaction`: what an operator does with credits. A composition root: it reads settings and opens the database."""

from __future__ import annotations

import argparse
import asyncio
import sys

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.exceptions import ApplicationError

from headrace.lifecycle import leave
from headrace.settings import SettingsError, load
from headrace.store.away import why
from headrace.store.engine import engine_of
from workers.transaction import accounts
from workers.transaction.audit import audit

_DONE, _FAILED, _USAGE, _NOT_FOUND, _UNREACHABLE = range(5)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workers.transaction", description="Credits: grant, look, audit, undo.")
    commands = parser.add_subparsers(dest="command", required=True)
    granting = commands.add_parser("grant", help="give a user credits, once for each reference")
    granting.add_argument("user")
    granting.add_argument("amount", type=int)
    granting.add_argument("--reference", required=True, help="names the grant: a repeated one does nothing")
    stocking = commands.add_parser("stock", help="say how many of an item are left; one without a stock never sells out")
    stocking.add_argument("item")
    stocking.add_argument("available", type=int)
    commands.add_parser("account", help="a user's credits").add_argument("user")
    commands.add_parser("audit", help="prove that the books balance")
    undoing = commands.add_parser("undo", help="take a transaction back whose run was terminated or could not compensate")
    undoing.add_argument("transaction_id")
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _complain(line: str) -> None:
    sys.stderr.write(f"{line}\n")


async def _run(arguments: argparse.Namespace, database: AsyncEngine) -> int:
    match arguments.command:
        case "grant":
            new = await accounts.grant(database, arguments.user, arguments.amount, arguments.reference)
            _say(f"{arguments.amount} credits for {arguments.user}: {'granted' if new else 'were granted before'}")
            return _DONE
        case "stock":
            await accounts.set_stock(database, arguments.item, arguments.available)
            _say(f"{arguments.item}: {arguments.available} left")
            return _DONE
        case "account":
            found = await accounts.account(database, arguments.user)
            if found is None:
                _complain(f"{arguments.user} has no account")
                return _NOT_FOUND
            _say(f"{found.user_id}: balance {found.balance}, on hold {found.held}, available {found.balance - found.held}")
            return _DONE
        case "audit":
            wrong = await audit(database)
            _say("\n".join(wrong or ["the books balance"]))
            return _FAILED if wrong else _DONE
        case _:
            undone = await accounts.undo(database, arguments.transaction_id)
            _say(f"taken back: {', '.join(undone) or 'nothing, there was nothing to take back'}; no step of it can have an effect any more")
            return _DONE


async def main() -> int:
    """The exit code, as `headrace`'s own."""
    arguments = _arguments()
    try:
        database = engine_of(load(), long_statements=True)  # an audit reads all the books
    except SettingsError as error:
        _complain(str(error))
        return _USAGE
    try:
        return await _run(arguments, database)
    except accounts.Refused as error:
        _complain(str(error))
        return _USAGE
    except (ApplicationError, SQLAlchemyError, OSError) as error:
        text = error.message if isinstance(error, ApplicationError) else f"the database does not answer: {why(error)}"
        _complain(f"{text}. Is HEADRACE_DATABASE_URL right, and has `headrace setup` been run?")
        return _UNREACHABLE
    finally:
        await database.dispose()


if __name__ == "__main__":
    leave(asyncio.run(main()))
