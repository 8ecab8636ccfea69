"""How do tests have cases decided in a real database, and see what came of it?"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from schemas.case import Case, CaseId, case_id
from schemas.command import Action, Actor, Command, Open
from schemas.event import AnyEvent, CaseCommand
from schemas.topics import CASES, UNITS, key_of, topic_of
from streams.core.batch import Arrival
from streams.store.audit import verify_chains
from streams.store.timescale import TimescaleWriter
from streams.store.writer import Lane, LaneBatch, Position
from streams.versions import Version, Versions, compiled
from tests.schemas.case_pack import AT
from tests.streams import world
from tests.streams.case_world import OPERATOR, PLACE, SITE

Row = Mapping[str, Any]

TOPIC_ID = UUID(int=1)
LIST = "vn-test"
VERSION: Version = compiled(0, SITE)
LANES = CASES.partitions


def envelope(id_: str, source: str, subject: str | None, **given: Any) -> dict[str, Any]:
    """The attributes of an event that has just come in."""
    return {
        "specversion": "1.0",
        "id": id_,
        "source": source,
        "subject": subject,
        "time": AT,
        "received_at": AT,
        "area": "01",
        "area_list": LIST,
        **given,
    }


def command(id_: str, subject: str, action: Action, actor: Actor = OPERATOR, **given: Any) -> CaseCommand:
    """Somebody asks for something."""
    do: Any = action
    return CaseCommand(**envelope(id_, f"person:{actor.id}", subject, **given), data=Command(do=do, actor=actor))


def opening(id_: str, category: str = "pothole", actor: Actor = OPERATOR, **given: Any) -> CaseCommand:
    """Somebody opens a case."""
    subject = case_id(f"person:{actor.id}", id_)
    return command(id_, subject, Open(category=category, title="An entry"), actor, **{"place": PLACE, **given})


def opened_by(event: CaseCommand) -> CaseId:
    """The case that `opening` opens."""
    return case_id(event.source, event.id)


def report(id_: str, subject: str, category: str = "pothole", **given: Any) -> AnyEvent:
    """A citizen's report."""
    data = {"category": category, "channel": "web", "tracking": "a" * 64}
    attributes = msgspec.to_builtins(envelope(id_, "web", subject, **{"place": PLACE, **given}))
    renamed = {"area_list": "arealist", "received_at": "receivedat"}
    whole = {renamed.get(name, name): value for name, value in attributes.items()}
    return msgspec.json.decode(
        msgspec.json.encode({**whole, "type": "ioc.feedback.received.v1", "data": data}), type=AnyEvent
    )


def arrived(event: AnyEvent, offset: int, number: int = 0) -> Arrival:
    """The event as it stands on the log, `number` milliseconds after others that came when it did."""
    assert event.received_at is not None
    record = world.StoredRecord(
        offset, int(event.received_at.timestamp() * 1000) + 1000 + number, key_of(event), msgspec.json.encode(event)
    )
    reading = VERSION.reader.read(topic_of(event).name, 0, [record])
    assert not reading.dead, reading.dead
    return reading.arrivals[0]


def lane_of(event: AnyEvent) -> Lane:
    """Some lane that is always the same for a key."""
    return Lane(topic_of(event).name, sum(key_of(event)) % LANES)


class Store:
    """A writer on a real database, fed lane by lane as a worker would."""

    def __init__(self, url: str, connection: Any) -> None:
        self.writer = TimescaleWriter(url, "ioc-streams", Versions(VERSION))
        self.connection = connection
        self.ends: dict[Lane, int] = {}
        self.version = VERSION

    def batches(self, events: Sequence[AnyEvent]) -> list[LaneBatch]:
        """What comes off the log next, a batch a lane."""
        by_lane: dict[Lane, list[Arrival]] = {}
        for number, event in enumerate(events):
            lane = lane_of(event)
            arrivals = by_lane.setdefault(lane, [])
            arrivals.append(arrived(event, self.ends.get(lane, 0) + len(arrivals), number))
        return [
            LaneBatch(
                lane=lane,
                expected=Position(TOPIC_ID, self.ends.get(lane, 0)),
                reached=Position(TOPIC_ID, self.ends.get(lane, 0) + len(arrivals)),
                arrivals=arrivals,
                version=self.version,
                unique=lane.topic != UNITS.name,
            )
            for lane, arrivals in by_lane.items()
        ]

    async def take(self, *events: AnyEvent) -> None:
        """Has these counted and decided, in one transaction."""
        batches = self.batches(events)
        for batch in batches:
            await self.writer.position(batch.lane, TOPIC_ID)
        outcomes = await self.writer.commit_all(batches)
        assert None not in outcomes
        self.passed(batches)

    def passed(self, batches: Sequence[LaneBatch]) -> None:
        """These are committed."""
        self.ends |= {batch.lane: batch.reached.next_offset for batch in batches}

    async def case(self, id_: str) -> Case:
        """A case as it is stored."""
        body = await self.connection.fetchval("SELECT body FROM cases WHERE id = $1", id_)
        assert body is not None, f"there is no case {id_}"
        return msgspec.json.decode(body, type=Case)

    async def outcomes(self) -> dict[str, str]:
        """What became of every command, by its id."""
        rows = await self.connection.fetch("SELECT id, is_applied, reason FROM command")
        return {row["id"]: "applied" if row["is_applied"] else row["reason"] for row in rows}

    async def timeline(self, id_: str) -> list[tuple[int, str]]:
        """Numbers and actions of a case's lines."""
        rows = await self.connection.fetch("SELECT number, body FROM case_entry WHERE case_id = $1 ORDER BY 1", id_)
        return [(row["number"], msgspec.json.decode(row["body"])["action"]) for row in rows]

    async def outgoing(self, channel: str = "kafka") -> list[AnyEvent]:
        """What waits to be written to the log."""
        rows = await self.connection.fetch("SELECT body FROM outbox WHERE channel = $1 ORDER BY made_at, id", channel)
        return [msgspec.json.decode(row["body"], type=AnyEvent) for row in rows]

    async def check(self) -> None:
        """What always holds: unbroken chains, unbroken timelines, columns that say what the body says."""
        async with self.connection.transaction(isolation="repeatable_read", readonly=True):
            flaws = [verdict.flaw async for verdict in verify_chains(self.connection) if verdict.flaw is not None]
        assert not flaws
        for row in await self.connection.fetch("SELECT * FROM cases"):
            case = msgspec.json.decode(row["body"], type=Case)
            assert (row["version"], row["state"], row["is_open"]) == (case.version, case.state, case.is_open)
            assert (row["areas"], row["units"], row["tracking"]) == ([*case.areas], [*case.units], [*case.tracking])
            numbers = [number for number, _ in await self.timeline(case.id)]
            assert numbers == list(range(1, row["entries"] + 1))
        commands = await self.connection.fetchval("SELECT count(*) FROM event WHERE type = 'ioc.case.command.v1'")
        assert commands == await self.connection.fetchval("SELECT count(*) FROM command")


def at(**later: float) -> datetime:
    """A moment after the one at which everything begins."""
    return AT + timedelta(**later)


def connect(url: str) -> Any:
    """A connection to look with."""
    return asyncpg.connect(url)
