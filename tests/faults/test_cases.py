"""What becomes of commands, offers and deadlines when those who handle them are killed?

Real workers, a real broker and a real database. Offers and clocks run out within seconds, so that deadlines pass and
escalate all the time while processes die in turn.
"""

import asyncio
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from schemas.case import OFFER_OVER, Case, CaseId, case_id
from schemas.command import Actor, AddNote, Assign, DeadlinePassed, Dispatch, Merge, OfferStepped, Open
from schemas.event import AnyEvent, CaseCommand, CaseStepped
from schemas.topics import key_of, topic_of
from streams.core.consequence import HOUR_PASSED
from streams.store.audit import verify_chains
from tests.faults.centre import HurtCentre, until
from tests.faults.site import write_pack
from tests.schemas.case_pack import pack, site
from tests.streams.case_store import command

UNITS = 6
CAPACITY = 60

PACK = pack(
    {
        # Only acceptance runs, and nothing else falls due in the time that a test takes.
        "clocks.toml": '[[clock]]\nclock = "acceptance"\nallowed = "5s"\n',
        "units.toml": "\n".join(
            f'[[unit]]\nid = "u{number}"\nnames = {{ en = "U{number}" }}\nagency = "roads"\narea = "00"\n'
            f'base = "geo:21.0{number},105.00"\nskills = ["road", "fire"]\ncapacity = {CAPACITY}\n'
            for number in range(UNITS)
        ),
        "dispatch.toml": "[[steps]]\ndelivered_s = 1\naccepted_s = 2\nen_route_s = 2\non_scene_s = 2\n"
        '[[escalation]]\nsteps = ["delivered", "accepted"]\nrungs = ["other_channel", "next_unit", "supervisor"]\n'
        '[[escalation]]\nsteps = ["en_route", "on_scene"]\nrungs = ["supervisor"]\n',
    }
)
SITE = site(PACK)
DISPATCHER = Actor(id="dis", roles=("operator", "dispatcher"), sees_all=True, areas=(SITE.areas.root.id,))
CASES_A_ROUND = 4
PAUSE_S = 0.1
SOON = "1 hour"


class Desk:
    """Somebody who sends commands without end until told to stop, some of them twice."""

    def __init__(self, centre: HurtCentre, producer: Any, seed: int = 1) -> None:
        self._centre = centre
        self._producer = producer
        self._rng = random.Random(seed)
        self._numbers = itertools.count()
        self._seed = seed
        self.sent: dict[str, CaseCommand] = {}
        self.cases: list[CaseId] = []

    async def work(self) -> None:
        """One round: opens cases, and does something about some."""
        events = [self._open() for _ in range(CASES_A_ROUND)] + [self._some() for _ in range(4 * CASES_A_ROUND)]
        again = self._rng.sample(list(self.sent.values()), min(len(self.sent), 4))
        await asyncio.gather(*[await self._send(event) for event in (*events, *again)])

    async def until(self, over: asyncio.Event) -> None:
        """Works until it is told to stop."""
        while not over.is_set():
            await self.work()
            await asyncio.sleep(PAUSE_S)

    async def _send(self, event: CaseCommand) -> "asyncio.Future[Any]":
        self.sent[event.id] = event
        name = self._centre.prefix + topic_of(event).name
        future: asyncio.Future[Any] = await self._producer.send(name, msgspec.json.encode(event), key_of(event))
        return future

    def _open(self) -> CaseCommand:
        id_ = f"{self._seed}-open-{next(self._numbers)}"
        case = case_id("person:dis", id_)
        self.cases.append(case)
        place = f"geo:{20 + self._rng.random():.4f},{105 + self._rng.random():.4f}"
        return self._command(id_, case, Open(category="pothole", title="Hole"), place=place)

    def _some(self) -> CaseCommand:
        case = self._rng.choice(self.cases)
        unit = f"u{self._rng.randrange(UNITS)}"
        by_unit = Actor(id=f"person-{unit}", roles=("unit",), unit=unit)
        actions: list[tuple[Any, Actor]] = [
            (AddNote(text="looked"), DISPATCHER),
            (Assign(agency=self._rng.choice(["roads", "power"])), DISPATCHER),
            (Dispatch(unit=unit), DISPATCHER),
            (Dispatch(unit=unit), DISPATCHER),
            (OfferStepped(offer=1, step="delivered"), by_unit),
            (OfferStepped(offer=1, step="accepted"), by_unit),
            (Merge(other=self._rng.choice(self.cases)), DISPATCHER),
        ]
        action, actor = self._rng.choice(actions)
        return self._command(f"{self._seed}-{next(self._numbers)}", case, action, actor)

    def _command(
        self, id_: str, case: CaseId, action: Any, actor: Actor = DISPATCHER, place: str | None = None
    ) -> CaseCommand:
        now = datetime.now(UTC)
        return command(id_, case, action, actor, time=now, received_at=now, place=place)


async def is_over(centre: HurtCentre) -> bool:
    """Whether everything on the log is decided, nothing waits to go onto it, and nothing falls due soon."""
    if await centre.lag():
        return False
    async with centre.connected() as connection:
        left = await connection.fetchval(
            f"""SELECT (SELECT count(*) FROM outbox WHERE channel = 'kafka')
                + (SELECT count(*) FROM deadline
                   WHERE fired_at IS NULL AND due_at < clock_timestamp() + interval '{SOON}')"""
        )
    return left == 0 and await centre.lag() == 0


async def check(centre: HurtCentre, desk: Desk) -> Counter[str]:
    """What has to hold after all of it. Returns how often commands had each outcome."""
    async with centre.connected() as connection:
        rows = await connection.fetch("SELECT source, id, action, is_applied, reason, detail FROM command")
        kept = await connection.fetch("SELECT source, id, body FROM event WHERE type = 'ioc.case.command.v1'")
        steps = await connection.fetch("SELECT body FROM event WHERE type = 'ioc.case.step.v1'")
        cases = await connection.fetch("SELECT id, entries, body FROM cases")
        lines = await connection.fetch("SELECT case_id, number, body FROM case_entry ORDER BY case_id, number")
        units = await connection.fetch("SELECT unit, cases FROM unit_state")
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            verdicts = [verdict async for verdict in verify_chains(connection)]
        records = await connection.fetchval("SELECT count(*) FROM audit")

    # Every command that was accepted has one outcome, and nothing else has any.
    decided = {(row["source"], row["id"]) for row in rows}
    assert len(decided) == len(rows)
    assert decided == {(row["source"], row["id"]) for row in kept}
    assert {(event.source, event.id) for event in desk.sent.values()} <= decided
    assert all(row["detail"] for row in rows if not row["is_applied"])
    assert [verdict.flaw for verdict in verdicts if verdict.flaw is not None] == []
    assert records == len(rows)

    # Every deadline that was told passed once, and each that was applied left one line.
    told = Counter[tuple[str, str]]()
    for row in lines:
        entry = msgspec.json.decode(row["body"])
        if entry["action"] in ("breach", "warn", "miss"):
            told[row["case_id"], entry["action"]] += 1
    applied = Counter[tuple[str, str]]()
    by_id = {(row["source"], row["id"]): row for row in rows}
    names: set[tuple[str, str, datetime]] = set()
    for row in kept:
        event = msgspec.json.decode(row["body"], type=AnyEvent)
        assert isinstance(event, CaseCommand)
        if not isinstance(action := event.data.do, DeadlinePassed):
            continue
        name = (event.subject or "", action.name, action.due_at)
        assert name not in names, "a deadline became two commands"
        names.add(name)
        if action.name == HOUR_PASSED:
            # It is a unit's, and leaves no line.
            continue
        if by_id[row["source"], row["id"]]["is_applied"]:
            kind = "miss" if action.name.startswith("offer:") else action.name.rpartition(":")[2]
            applied[event.subject or "", {"due": "breach"}.get(kind, kind)] += 1
    assert told == applied

    opened = Counter(step.data.case for step in _steps(steps) if step.data.step == "opened")
    assert opened == Counter({row["id"]: 1 for row in cases})
    numbers: dict[str, list[int]] = {}
    for row in lines:
        numbers.setdefault(row["case_id"], []).append(row["number"])
    at_work: dict[str, set[str]] = {}
    for row in cases:
        case = msgspec.json.decode(row["body"], type=Case)
        assert numbers[case.id] == list(range(1, row["entries"] + 1))
        assert [offer.number for offer in case.offers] == list(range(1, len(case.offers) + 1))
        open_ = [offer.unit for offer in case.offers if offer.step not in OFFER_OVER]
        assert len(open_) == len(set(open_)), "a unit was sent twice to one case"
        for unit in open_:
            at_work.setdefault(unit, set()).add(case.id)
    assert {row["unit"]: set(row["cases"]) for row in units if row["cases"]} == at_work
    assert all(len(held) <= CAPACITY for held in at_work.values())
    of_cases = (row for row in rows if not row["id"].startswith(f"{HOUR_PASSED}:"))
    return Counter(f"{row['action']}:{row['reason'] or 'applied'}" for row in of_cases)


def _steps(rows: Any) -> list[CaseStepped]:
    return [msgspec.json.decode(row["body"], type=CaseStepped) for row in rows]


async def kill_in_turn(centre: HurtCentre, kills: int, seconds: float = 0.0) -> None:
    """Kills two workers and who writes to the log in turn, while commands come and deadlines pass: so often, and for
    so long.
    """
    end_s = time.monotonic() + seconds
    write_pack(PACK, centre.site_folder)
    starts: list[Callable[[], Any]] = [
        lambda: centre.start_worker(0),
        centre.start_outbound,
        lambda: centre.start_worker(1),
    ]
    running = [start() for start in starts]
    over = asyncio.Event()
    async with centre.producer() as producer:
        desk = Desk(centre, producer)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(desk.until(over))
            decided = 0
            for kill in itertools.count():
                if kill >= kills and time.monotonic() > end_s:
                    break
                decided = await _more_decided(centre, decided)
                at = kill % len(starts)
                running[at].kill()
                running[at] = starts[at]()
            await _more_decided(centre, decided)
            over.set()
    await until(lambda: is_over(centre), "everything is decided, and nothing falls due", centre)
    outcomes = await check(centre, desk)
    assert outcomes["open:applied"] == len(desk.cases)
    assert outcomes["dispatch:applied"] > 0
    assert outcomes["deadline:applied"] > 0


async def _more_decided(centre: HurtCentre, than: int) -> int:
    """Waits until more commands have been decided, some deadlines among them, and returns how many."""

    async def decided() -> int:
        async with centre.connected() as connection:
            now: int = await connection.fetchval("SELECT count(*) FROM command")
            deadlines: int = await connection.fetchval(
                "SELECT count(*) FROM command WHERE action = 'deadline' AND subject NOT LIKE 'unit:%'"
            )
        return now if now > than and deadlines else 0

    return await until(decided, f"more than {than} commands are decided", centre)


async def test_workers_and_the_log_writer_are_killed(centre: HurtCentre) -> None:
    await kill_in_turn(centre, kills=6)


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_they_are_killed_for_long(centre: HurtCentre) -> None:
    await kill_in_turn(centre, kills=12, seconds=60 * float(os.environ.get("MINUTES", "60")))
