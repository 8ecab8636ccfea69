"""Is the record of all decisions what it was, and what does it say of a case?

`ioc audit` is read-only. This module is imported whenever `ioc` starts, so it imports what it needs when a command is
called.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from deploy.settings import Settings
from schemas.errors import OperatorError

if TYPE_CHECKING:
    from streams.core.audit import Head
    from streams.store.audit import Kept, Verdict
    from streams.store.cells import Connection

T = TypeVar("T")

EXIT_WRONG = 1

audit_app = typer.Typer(no_args_is_help=True, help="Check and read the record of all decisions.")


@audit_app.command("verify")
def verify_command(
    *,
    head: Annotated[
        bool, typer.Option("--head", help="Print only where each chain stands, to be kept somewhere else.")
    ] = False,
    kept: Annotated[
        Path | None, typer.Option("--kept", metavar="FILE", help="Lines that --head has printed at some time before.")
    ] = None,
) -> None:
    """Say of each chain whether anything in it was changed, moved or taken out. Exits with 1 when something was."""
    from streams.core.audit import head_line

    known = [] if kept is None else _heads(kept)
    verdicts = _asked(lambda connection: _verdicts(connection, known))
    wrong = [one for one in verdicts if one.flaw is not None]
    for one in verdicts:
        if not head or one.flaw is not None:
            typer.echo(_line(one), err=head)
        if head and one.flaw is None:
            typer.echo(head_line(one.head))
    if not verdicts and not head:
        typer.echo("Nothing has been decided yet.")
    if wrong:
        raise typer.Exit(EXIT_WRONG)


@audit_app.command("show")
def show_command(
    subject: Annotated[
        str, typer.Argument(metavar="CASE", help="A case, or unit:ID, alert:RULE, person:ID.", show_default=False)
    ],
) -> None:
    """Print every decision about a case, in the order of recording. Exits with 1 when there is none."""
    kept = _asked(lambda connection: _about(connection, subject))
    for one in kept:
        typer.echo(_told(one))
    if not kept:
        typer.echo(f"Nothing was ever decided about {subject!r}.", err=True)
        raise typer.Exit(EXIT_WRONG)


def _line(verdict: "Verdict") -> str:
    if verdict.flaw is not None:
        return f"chain {verdict.flaw.chain}: WRONG at row {verdict.flaw.number}: {verdict.flaw.reason}"
    head = verdict.head
    return f"chain {head.chain}: {verdict.rows} rows, nothing was changed; it ends with {head.hash.hex()}"


def _told(kept: "Kept") -> str:
    record = kept.record
    who = f"{record.actor} ({', '.join(record.roles)})" if record.actor else record.source
    outcome = "applied" if record.refusal is None else f"refused: {record.refusal}"
    after = ", ".join(f"{case.id} version {case.version} {case.state}" for case in record.cases)
    drill = ", drill" if record.exercise else ""
    return (
        f"{record.recorded_at.isoformat(timespec='milliseconds')}  {record.what}  by {who}  {outcome}{drill}"
        f"{f'  {after}' if after else ''}  [chain {kept.chain} row {kept.number}, event {record.source} {record.id}]"
    )


def _heads(file: Path) -> "list[Head]":
    from streams.core.audit import parse_head

    try:
        return [parse_head(line) for line in file.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise OperatorError(
            f"{file} does not hold heads: {error}.", "Give what `ioc audit verify --head` printed."
        ) from error


async def _verdicts(connection: "Connection", known: "Sequence[Head]") -> "list[Verdict]":
    from streams.store.audit import verify_chains

    # One moment for all that is read, however long that takes.
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return [verdict async for verdict in verify_chains(connection, known)]


async def _about(connection: "Connection", subject: str) -> "list[Kept]":
    from streams.store.audit import read_subject

    return await read_subject(connection, subject)


def _asked(ask: "Callable[[Connection], Awaitable[T]]") -> T:
    """The answer of the centre's database."""
    import asyncpg

    from deploy.local.addresses import reachable

    async def answer(database_url: str) -> T:
        connection = await asyncpg.connect(database_url)
        try:
            return await ask(connection)
        finally:
            await connection.close()

    with reachable(Settings.from_env(os.environ)) as (_, database_url):
        return asyncio.run(answer(database_url))
