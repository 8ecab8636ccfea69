"""What does the centre keep of a person, and how is a person erased? `ioc person`

What a person has said is not printed here: it is shown where the showing is recorded. This module is imported
whenever `ioc` starts, so it imports what it needs when a command is called.
"""

import asyncio
import getpass
import os
import re
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.settings import Settings
from schemas.errors import DependencyUnavailable, OperatorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from schemas.event import AreaId
    from schemas.personal import KeyRing
    from schemas.site import Site
    from streams.store.personal import Kept

EXIT_WRONG = 1

OUTCOME_WAIT_S = 30.0
"""How long the outcome of an erasure is waited for. Without a worker it is decided when one starts."""

POLL_S = 0.2

_CASE = "case:"

person_app = typer.Typer(no_args_is_help=True, help="What is kept of a person, and how it is erased.")

_Who = Annotated[
    str,
    typer.Argument(
        metavar="PERSON",
        help="A phone number, an e-mail address, zalo:NAME, plate:NUMBER, case:REFERENCE, or a person's id.",
    ),
]


@person_app.command("show")
def show_command(who: _Who) -> None:
    """Say what is kept of a person, without its content. Exits with 1 when nothing is."""
    settings = Settings.from_env(os.environ)
    person, kept = _kept(settings, who)
    typer.echo(f"person:{person}")
    for one in kept:
        typer.echo(_line(one))
    if not kept:
        typer.echo("Nothing is kept of this person.", err=True)
        raise typer.Exit(EXIT_WRONG)


@person_app.command("erase")
def erase_command(
    who: _Who,
    *,
    reason: Annotated[str, typer.Option(help="Why; it stays on the record.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Destroy a person's key: nothing that was kept of the person can be read again. It cannot be undone."""
    settings = Settings.from_env(os.environ)
    person, kept = _kept(settings, who)
    readable = sum(one.personal is not None for one in kept)
    typer.echo(f"person:{person}: {len(kept)} events, {readable} of them readable.")
    if not yes:
        typer.confirm("Erase this person for good?", abort=True)
    typer.echo(erase(settings, person, reason))


@person_app.command("rotate")
def rotate_command() -> None:
    """Put a new key on the centre's ring. Start the workers again first, then the web process."""
    from deploy.personal_keys import add_key, keys_path

    settings = Settings.from_env(os.environ)
    typer.echo(f"Key {add_key(settings)} is on the ring in {keys_path(settings)}. Keep the older ones there.")


def person_id(ring: "KeyRing", site: "Site", who: str) -> str:
    """The pseudonym of whom somebody means. Raises OperatorError."""
    from schemas.personal import Personal, Reporter

    kind, colon, name = who.partition(":")
    given = who.removeprefix("person:").strip()
    if re.fullmatch(r"[0-9a-f]{64}", given):
        return given
    if colon and kind == "plate":
        personal = Personal(plate=name)
    elif colon and kind == "zalo":
        personal = Personal(reporter=Reporter(zalo=name))
    elif "@" in given:
        personal = Personal(reporter=Reporter(email=given))
    elif re.fullmatch(r"\+?[\d\s().-]{6,}", given):
        personal = Personal(reporter=Reporter(phone=given))
    else:
        raise OperatorError(
            f"{who!r} is no contact and no person's id.",
            "Give a phone number, e-mail address, zalo:NAME, plate:NUMBER, case:REFERENCE, or an id of 64 digits.",
        )
    return ring.person_of(personal, "", "", site.header.calling_code)


def erase(settings: Settings, person: str, reason: str) -> str:
    """Asks for it by a command on the log, as everything is asked for, and says what came of it.

    Whoever has the keys of the centre is its administrator; the record has the name of the account. Raises
    OperatorError.
    """
    from deploy.local.addresses import reachable
    from deploy.site import load_site

    site = load_site(settings.site)
    with reachable(settings) as (kafka, database_url):
        try:
            return asyncio.run(_erase(kafka, database_url, settings.topic_prefix, site, person, reason))
        except DependencyUnavailable as error:
            raise OperatorError(f"{error}.", "Start it, and give the command again.") from error


def _line(kept: "Kept") -> str:
    state = "sealed under the person's key" if kept.personal is not None else "erased, or not to be opened here"
    case = f", case {kept.case}" if kept.case is not None else ""
    return f"{kept.received_at.isoformat(timespec='seconds')}  {kept.source} {kept.id}{case}: {state}"


def _kept(settings: Settings, who: str) -> "tuple[str, list[Kept]]":
    import asyncpg

    from deploy.local.addresses import reachable
    from deploy.personal_keys import key_ring
    from deploy.site import load_site
    from streams.store.personal import read_person, read_persons

    ring, site = key_ring(settings), load_site(settings.site)

    async def read(database_url: str) -> "tuple[str, list[Kept]]":
        connection = await asyncpg.connect(database_url)
        try:
            if who.startswith(_CASE):
                person = _only_one(who, await read_persons(connection, who.removeprefix(_CASE)))
            else:
                person = person_id(ring, site, who)
            return person, await read_person(connection, ring, person)
        finally:
            await connection.close()

    with reachable(settings) as (_, database_url):
        return asyncio.run(read(database_url))


def _only_one(case: str, persons: "Sequence[str]") -> str:
    """Whom a case is of: who gave no contact can be found by nothing else. Raises OperatorError."""
    if len(persons) == 1:
        return persons[0]
    if not persons:
        raise OperatorError(f"Nothing is kept of anybody in {case}.", "Look whether all of the reference was copied.")
    fix = "Give one of these, after looking at each by `ioc person show`."
    raise OperatorError(f"{len(persons)} persons are in {case}: {', '.join(persons)}.", fix)


async def _erase(kafka: str, database_url: str, topic_prefix: str, site: "Site", person: str, reason: str) -> str:
    import asyncpg
    import msgspec

    from deploy.log_writer import write
    from ingest.decode.commands import CommandDecoder, Taken, source_of
    from schemas.command import Actor
    from schemas.identity import Role

    areas: tuple[AreaId, ...] = (site.areas.root.id,)
    # No person of people.toml has a colon in the id.
    actor = Actor(id=f"console:{getpass.getuser()}", roles=(Role.ADMINISTRATOR.value,), sees_all=True, areas=areas)
    id_ = uuid.uuid4().hex
    body = {"id": id_, "subject": f"person:{person}", "do": {"action": "erase", "reason": reason}}
    ordered = CommandDecoder(site).decode(msgspec.json.encode(body), actor, datetime.now(UTC))
    (result,) = ordered.results
    if not isinstance(result, Taken):
        raise OperatorError(f"{result.field}: {result.detail}.", result.fix)
    # The same command is one command, however often it is on the log.
    await write(kafka, topic_prefix, ordered.lots)
    connection = await asyncpg.connect(database_url)
    try:
        return await _outcome(connection, source_of(actor), id_)
    finally:
        await connection.close()


async def _outcome(connection: "asyncpg.Connection[asyncpg.Record]", source: str, id_: str) -> str:
    deadline_s = time.monotonic() + OUTCOME_WAIT_S
    while time.monotonic() < deadline_s:
        row = await connection.fetchrow(
            "SELECT is_applied, reason, detail FROM command WHERE source = $1 AND id = $2", source, id_
        )
        if row is not None and row["is_applied"]:
            return "Erased."
        if row is not None:
            raise OperatorError(f"It was refused: {row['reason']}: {row['detail']}.", "Look into `ioc audit`.")
        await asyncio.sleep(POLL_S)
    return f"It is on the log as command {id_}, and no worker has decided it yet: it will be when one runs."
