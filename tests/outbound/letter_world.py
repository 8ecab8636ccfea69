"""What do tests of letters need? Cases, reporters and notices in a real database, and the process that sends."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from schemas.case import Case, CaseId, Entry, Kind, Member, Offer, OfferStep, Severity, State
from schemas.notice import Why
from schemas.personal import KEY_BYTES, KeyRing, Personal, Reporter
from schemas.site import Site
from streams.core.letters import Letter
from streams.core.notice import Notice
from streams.outbound.announcer import LETTERS, Announcer
from streams.outbound.channels import Channel
from streams.outbound.post import Post
from streams.outbound.relay import Relay
from streams.store.outbox import NOTICE_CHANNEL, Message, Outbox
from tests.outbound.messages import Connection, put
from tests.schemas.case_pack import AT, case
from tests.schemas.channel_pack import CHANNELS, channel_site

RING = KeyRing({"1": b"k" * KEY_BYTES}, "1", b"i" * KEY_BYTES)
MAI = "a" * 64
SECRETS = {"env:IOC_SECRET_SMS": b"secret", "env:IOC_SECRET_PARTNER": b"secret", "file:mail": b"of the relay"}

_OPEN: list[Post] = []

OFFER = Offer(number=1, unit="a", step=OfferStep.OFFERED, at={OfferStep.OFFERED: AT})
FIRE = case(
    category="fire",
    kind=Kind.INCIDENT,
    severity=Severity.CRITICAL,
    state=State.ASSIGNED,
    agency="roads",
    title="Anh Nam 0912",
    offers=(OFFER,),
)
POTHOLE = case(
    category="pothole",
    state=State.ASSIGNED,
    agency="roads",
    title="Ổ gà",
    members=(Member(source="web", id="1", type="ioc.feedback.received.v1", at=AT, case=CaseId("c"), subscriber=MAI),),
    tracking=("t" * 64,),
)


def notice(why: Why, *to: str, **given: Any) -> Notice:
    """Somebody is to be told something, by default of what the tests' case is."""
    return Notice(case=CaseId("c"), to=to, why=why, at=given.pop("at", AT), **given)


def secret(reference: str) -> bytes:
    """What a reference stands for in the tests."""
    return SECRETS[reference]


def site_with(**addresses: str) -> Site:
    """The site, with channels of these addresses."""
    text = CHANNELS
    for id_, address in addresses.items():
        at = text.index(f'id = "{id_}"')
        begin = text.index('address = "', at) + len('address = "')
        text = text[:begin] + address + text[text.index('"', begin) :]
    return channel_site(text)


async def put_case(connection: Connection, made: Case) -> None:
    """Keeps a case as the workers would."""
    await connection.execute(
        """INSERT INTO cases (id, version, kind, state, is_open, category, severity, area, areas, title, units,
        tracking, is_exercise, is_published, opened_at, recorded_at, changed_at, body)
        VALUES ($1, 1, $2, $3, true, $4, $5, $6, $7, $8, $9, '{}', $10, false, $11, $11, $11, $12)
        ON CONFLICT (id) DO UPDATE SET body = excluded.body""",
        *(made.id, made.kind, made.state, made.category, made.severity, made.area, list(made.areas), made.title),
        *(list(made.units), made.exercise, made.opened_at, msgspec.json.encode(made)),
    )


async def put_entry(connection: Connection, text: str, number: int = 1, **given: Any) -> None:
    """A line of the case's timeline, by default a public one."""
    known: dict[str, Any] = {"at": AT, "recorded_at": AT, "action": "answer", "public": True}
    entry = Entry(case=CaseId("c"), number=number, text=text, **(known | given))
    await connection.execute(
        "INSERT INTO case_entry VALUES ('c', $1, $2, $2, $3, $4)",
        *(number, entry.at, entry.public, msgspec.json.encode(entry)),
    )


async def put_reporter(connection: Connection, reporter: Reporter, person: str = MAI, id_: str = "1") -> None:
    """Keeps how a reporter can be reached."""
    sealed = RING.seal_personal(Personal(reporter=reporter), "web", id_)
    await connection.execute(
        "INSERT INTO personal (source, id, person, received_at, as_it_came) VALUES ('web', $1, $2, $3, $4)",
        *(id_, person, AT, sealed),
    )


async def put_notice(connection: Connection, *notices: Notice, first: int = 0) -> None:
    """Puts notices in as the counting transaction does."""
    await put(
        connection,
        *(
            Message(
                id=f"notice:n:{first + number}",
                channel=NOTICE_CHANNEL,
                target=one.case,
                content_type="application/json",
                body=msgspec.json.encode(one),
            )
            for number, one in enumerate(notices)
        ),
    )


async def letters(connection: Connection) -> list[tuple[str, Letter, asyncpg.Record]]:
    """All letters in the outbox: the channel, the letter, and the row."""
    rows = await connection.fetch(
        """SELECT *, due_at = 'infinity' AS given_up, due_at > clock_timestamp() AS waits FROM outbox
        WHERE starts_with(channel, 'to:') ORDER BY channel, target"""
    )
    return [(row["channel"][3:], msgspec.json.decode(row["body"], type=Letter), row) for row in rows]


def channels(
    outbox: Outbox, site: Site, folder: Path, secrets: Callable[[str], bytes] = secret
) -> dict[str, Channel]:
    """What sends notices and letters."""
    post = Post(outbox, lambda: site, RING, secrets, folder, timeout_s=5.0)
    _OPEN.append(post)
    return {NOTICE_CHANNEL: Announcer(outbox, lambda: site, RING), LETTERS: post}


async def close_all() -> None:
    """Ends the connections of all that was made by `channels`."""
    while _OPEN:
        await _OPEN.pop().close()


async def send_all(relay: Relay) -> None:
    """Sends all that is due."""
    while await relay.send_one():
        pass


def now() -> datetime:
    """The time in the tests' far ends."""
    return datetime.now(UTC)


async def main(url: str, sms: str, folder: str) -> None:
    """A process that sends, to be killed: `url`, the gateway's address, a folder."""
    import asyncio

    outbox = Outbox(url)
    relay = Relay(outbox, channels(outbox, site_with(sms=sms), Path(folder)), idle_s=0.01)
    await relay.run(asyncio.Event())


if __name__ == "__main__":
    import asyncio

    asyncio.run(main(*sys.argv[1:4]))
