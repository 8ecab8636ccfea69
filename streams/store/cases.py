"""How do decisions about cases become state?

In the transaction that counts the events: cases and units are read under locks, every fresh event is decided by
`streams.core.decide` against what the one before it left, and what follows is written with few statements: cases,
their timelines and deadlines, units, outcomes of commands, the audit log, and what goes out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from heapq import merge
from importlib.resources import files
from typing import NamedTuple

import msgspec
from msgspec import Struct

from schemas.case import Case, CaseId, Entry
from schemas.codec import SEALED_BYTES_MAX, decode
from schemas.command import Reveal, name_of
from schemas.event import AnyEvent, CaseCommand, CaseStepped, UnitOnDuty, UnitPositioned, type_of
from schemas.location import place_of
from schemas.statements import parse_statements, together
from schemas.topics import CASES, case_of, topic_of
from schemas.unit import UnitState
from streams.alerts.silence import apply_silence
from streams.core.audit import CaseAfter, Head, Record, case_after, digest
from streams.core.consequence import Cause, Outgoing, following, outgoing, stepped, told_of_duty
from streams.core.decide import (
    cases_needed,
    deadlines_of,
    decide,
    home_needed,
    next_case,
    signals_needed,
    units_needed,
    wants_near,
)
from streams.core.merging import newly_of
from streams.core.notice import with_line
from streams.core.scene import Decided, Scene
from streams.store.audit import SQL as AUDIT_SQL
from streams.store.audit import added
from streams.store.cells import Connection
from streams.store.near import NearCases, Spot
from streams.store.outbox import LOG_CHANNEL, NOTICE_CHANNEL
from streams.store.outbox import SQL as OUTBOX_SQL
from streams.store.personal import erase_persons
from streams.store.settling import Fresh
from streams.store.writer import LaneBatch

DISPATCH = 0x10C0_D15A
"""The advisory lock of who decides where units go."""

UNIT_PREFIX = "unit:"
"""Before a unit's id where it is what a command is about."""

APPLIED = "applied"
"""What is counted as the outcome of what was not refused."""

SEPARATOR = "\x1f"
"""Between the words of a list on its way into the database. No id and no code holds it."""

SQL = parse_statements((files("streams.store") / "cases.sql").read_text())

_PUT = together(
    [
        *(SQL[name] for name in ("put_cases", "put_entries", "drop_deadlines", "put_deadlines", "put_commands")),
        *(OUTBOX_SQL["put"], AUDIT_SQL["put_audit"], AUDIT_SQL["put_heads"], OUTBOX_SQL["wake_log"]),
    ]
)

_decode_case = msgspec.json.Decoder(Case).decode
_decode_unit = msgspec.json.Decoder(UnitState).decode
_encode = msgspec.json.Encoder().encode

Identity = tuple[str, str]


class Changed(NamedTuple):
    """What a transaction has changed, for the change feed; and how many events were decided, by what came of it."""

    cases: Sequence[str] = ()
    units: Sequence[str] = ()
    commands: bool = False
    outcomes: Mapping[str, int] = {}

    @property
    def as_json(self) -> dict[str, object]:
        """What the change row says of it: only what there is."""
        said = {"cases": self.cases, "units": self.units, "commands": self.commands}
        return {name: value for name, value in said.items() if value}


class _Held(Struct):
    """A case in this transaction: as it is now, as it is stored so, how many lines its timeline has, and what of
    this has to be written.
    """

    case: Case
    body: bytes
    entries: int
    is_changed: bool = False
    is_touched: bool = False


class _Outcome(NamedTuple):
    """An event and what was decided, with how that left the cases, and what the command was about."""

    fresh: Fresh
    decided: Decided
    after: tuple[CaseAfter, ...]
    state: str | None
    version: int | None


def is_decided(event: AnyEvent, *, keeps_cases: bool) -> bool:
    """Whether an event of the topic of cases is for `decide`. Without declared cases signals concern none."""
    if event.__class__ is CaseCommand:
        return True
    return keeps_cases and event.__class__ not in (CaseStepped, UnitOnDuty) and topic_of(event) is CASES


async def decide_all(connection: Connection, fresh: Sequence[Fresh], passing: Iterable[LaneBatch]) -> Changed:
    """Decides all that is new, and notes where units are. In the caller's transaction, which holds the lanes."""
    by_lane: dict[object, list[Fresh]] = {}
    for one in fresh:
        if is_decided(one.arrival.event, keeps_cases=one.batch.version.site.cases is not None):
            by_lane.setdefault(one.batch.lane, []).append(one)
    places = _places(passing)
    if not by_lane and not places:
        return Changed()
    stage = Stage(connection)
    # Lanes are in the order of their log; between them the log's clock says what came first.
    waiting = list(merge(*by_lane.values(), key=lambda one: one.arrival.logged_ms))
    if waiting:
        await stage.prepare(waiting)
        for one in waiting:
            await stage.decide(one)
    return await stage.write(places)


class Stage:
    """What a transaction's decisions look at, and what they have left so far."""

    def __init__(self, connection: Connection) -> None:
        """`connection` is in a transaction."""
        self._connection = connection
        self._held: dict[CaseId, _Held] = {}
        self._absent: set[CaseId] = set()
        self._heads: dict[int, Head] = {}
        self._units: dict[str, UnitState] = {}
        self._known_units: set[str] | None = set()
        self._changed_units: dict[str, None] = {}
        self._is_dispatching = False
        self._signals: dict[Identity, AnyEvent] = {}
        self._looked_up: set[Identity] = set()
        self._near = NearCases()
        self._outcomes: list[_Outcome] = []
        self._entries: list[Entry] = []
        self._batches: dict[CaseId, LaneBatch] = {}
        self._moved: dict[Identity, CaseId] = {}
        self._homes: dict[Identity, CaseId] = {}
        self._ways: dict[Identity, list[str]] = {}

    async def prepare(self, waiting: Sequence[Fresh]) -> None:
        """Reads at once what nearly all of these events will need."""
        corrected = sorted({home for one in waiting if (home := home_needed(one.arrival.event)) is not None})
        if corrected:
            # Corrections are decided while nobody else commits, so what is read here holds until the end.
            for row in await self._connection.fetch(SQL["read_homes"], *zip(*corrected, strict=True)):
                self._ways.setdefault((row["source"], row["asked"]), []).append(row["id"])
                self._homes[row["source"], row["id"]] = CaseId(row["case_id"])
        await self._lock(
            {id_ for one in waiting for id_ in cases_needed(one.arrival.event, self._homes_of(one.arrival.event))},
            {one.batch.lane.partition for one in waiting},
        )
        cases = _Cases(self._held)
        units: set[str] | None = set()
        signals: set[Identity] = set()
        spots: list[Spot] = []
        for one in waiting:
            event = one.arrival.event
            homes = self._homes_of(event)
            needed = units_needed(event, cases, homes)
            units = None if units is None or needed is None else units | needed
            signals |= set(signals_needed(event, cases, homes))
            if (spot := self._spot(one)) is not None:
                spots.append(spot)
        await self._know_units(units)
        await self._know_signals(signals)
        if spots:
            await self._near.read(self._connection, SQL["read_near"], spots)

    async def decide(self, fresh: Fresh) -> None:
        """Decides one event against what those before it have left."""
        event, site = fresh.arrival.event, fresh.batch.version.site
        homes = self._homes_of(event)
        await self._hold(set(cases_needed(event, homes)))
        for origin in cases_needed(event, homes):
            await self._follow(origin)
        cases = _Cases(self._held)
        needed = units_needed(event, cases, homes)
        await self._know_units(needed)
        await self._know_signals(set(signals_needed(event, cases, homes)))
        spot = self._spot(fresh)
        near = () if spot is None else self._near.of(spot, cases)
        scene = Scene(
            site=site,
            cases=cases,
            units=self._units,
            signals=self._signals,
            homes=homes,
            ways={corrected: self._ways[corrected] for corrected in homes},
            near=near,
        )
        decided = decide(event, fresh.arrival.area, fresh.arrival.received_at, scene)
        self._take(fresh, decided)
        for corrected, home in self._homes_of(event).items():
            if home != case_of(event):
                # What came with the signal that it corrects was put down before anybody knew where that would be.
                self._moved[event.source, self._ways[corrected][-1]] = home

    def _homes_of(self, event: AnyEvent) -> Mapping[Identity, CaseId]:
        """The case of what an event corrects: the one of the signal that this began with."""
        corrected = home_needed(event)
        if corrected is None or corrected not in self._ways:
            return {}
        return {corrected: self._homes[corrected[0], self._ways[corrected][-1]]}

    def _take(self, fresh: Fresh, decided: Decided) -> None:
        """Lets a decision be what those after it meet."""
        after: list[CaseAfter] = []
        event = fresh.arrival.event
        there = event.source, event.id, case_of(event)
        for case in decided.cases:
            held, body = self._held.get(case.id), _encode(case)
            for member in newly_of(None if held is None else held.case, case):
                if (member.source, member.id, case.id) != there:
                    self._moved[member.source, member.id] = self._homes[member.source, member.id] = case.id
            version = 1 if held is None else held.case.version + 1
            assert case.version == version, f"case {case.id} goes from version {version - 1} to {case.version}"
            if held is None:
                held = self._held[case.id] = _Held(case, body, 0)
                self._absent.discard(case.id)
            held.case, held.body, held.is_changed = case, body, True
            self._batches[case.id] = fresh.batch
            self._near.note(case)
            after.append(case_after(case, body))
        lines: list[Entry] = []
        for entry in decided.entries:
            held = self._held[entry.case]
            held.entries += 1
            held.is_touched = True
            lines.append(msgspec.structs.replace(entry, number=held.entries))
        self._entries += lines
        notices = tuple(with_line(notice, lines) for notice in decided.notices)
        decided = msgspec.structs.replace(decided, notices=notices)
        for state in decided.units:
            self._units[state.unit] = state
            self._changed_units[state.unit] = None
        self._outcomes.append(_Outcome(fresh, decided, tuple(after), *self._state_of(decided.subject)))

    def _state_of(self, subject: str | None) -> tuple[str | None, int | None]:
        """State and version of a case or a unit."""
        if subject is None:
            return None, None
        if (held := self._held.get(CaseId(subject))) is not None:
            return held.case.state.value, held.case.version
        unit = self._units.get(subject.removeprefix(UNIT_PREFIX))
        return (None, None) if unit is None else (unit.status.value, unit.version)

    async def write(self, places: Mapping[str, UnitState]) -> Changed:
        """Writes all that was decided, and where units are. Returns what is different now."""
        written = {id_: held for id_, held in sorted(self._held.items()) if held.is_changed or held.is_touched}
        await self._write_units(places)
        await self._write_proposals()
        await self._write_elsewhere()
        if self._moved:
            rows = [(*identity, case) for identity, case in self._moved.items()]
            await self._connection.execute(SQL["move_events"], *_columns(rows, 3))
        commands = self._command_rows()
        if self._outcomes:
            changed = [id_ for id_, held in written.items() if held.is_changed]
            due = [
                (one.case, one.name, one.due_at)
                for id_ in changed
                for one in deadlines_of(self._held[id_].case, self._batches[id_].version.site)
            ]
            lines = [
                (one.case, one.number, one.at, one.recorded_at, one.public, _encode(one)) for one in self._entries
            ]
            outgoing_rows = self._outgoing_rows()
            audit = added(self._heads, self._records())
            await self._connection.execute(
                _PUT,
                *_columns([_case_row(held) for held in written.values()], 26),
                *_columns(lines, 6),
                *(changed, *_columns(due, 3)[:2]),
                *_columns(due, 3),
                *_columns(commands, 10),
                *_columns(outgoing_rows, 4),
                *_columns(audit.rows, 6),
                *_columns(audit.heads, 3),
                any(row[1] == LOG_CHANNEL for row in outgoing_rows),
            )
        outcomes = Counter(one.decided.refusal or APPLIED for one in self._outcomes if _is_for_the_record(one))
        return Changed(list(written), sorted({*self._changed_units, *places}), bool(commands), outcomes)

    async def _hold(self, ids: set[CaseId]) -> None:
        """Locks and reads these cases and what they were merged into, unless they are held already."""
        missing = ids - self._held.keys() - self._absent
        if missing:
            await self._lock(missing)

    async def _lock(self, missing: set[CaseId], chains: Iterable[int] = ()) -> None:
        for row in await self._connection.fetch(SQL["lock_cases"], sorted(missing), sorted(chains)):
            if row["chain"] is not None:
                self._heads[row["chain"]] = Head(row["chain"], row["number"], row["body"])
            elif row["id"] not in self._held:
                self._held[row["id"]] = _Held(_decode_case(row["body"]), row["body"], row["number"])
        self._absent |= missing - self._held.keys()

    async def _follow(self, origin: CaseId) -> None:
        """Holds whoever deals now with what comes for a case."""
        seen = {origin}
        at = self._held.get(origin)
        while at is not None:
            further = next_case(at.case, origin)
            if further is None or further in seen:
                return
            seen.add(further)
            await self._hold({further})
            at = self._held.get(further)

    async def _know_units(self, units: Iterable[str] | None) -> None:
        """Reads what is known of these units, or of all. From the first one on nobody else decides about any."""
        if self._known_units is None:
            return
        missing = None if units is None else set(units) - self._known_units
        if missing is not None and not missing:
            return
        if not self._is_dispatching:
            await self._connection.execute(SQL["lock_dispatch"], DISPATCH)
            self._is_dispatching = True
        for row in await self._connection.fetch(SQL["read_units"], None if missing is None else sorted(missing)):
            state = _decode_unit(row["body"])
            if state.unit not in self._changed_units:
                self._units[state.unit] = msgspec.structs.replace(
                    state, lat=row["lat"], lon=row["lon"], position_at=row["position_at"]
                )
        self._known_units = None if missing is None else self._known_units | missing

    async def _know_signals(self, identities: set[Identity]) -> None:
        """Reads these kept events."""
        missing = sorted(identities - self._looked_up)
        if not missing:
            return
        sources, ids = zip(*missing, strict=True)
        for row in await self._connection.fetch(SQL["read_signals"], sources, ids):
            self._signals[row["source"], row["id"]] = decode(row["body"], SEALED_BYTES_MAX)
        self._looked_up |= set(missing)

    def _spot(self, fresh: Fresh) -> Spot | None:
        """Where and when a case may be opened that is another's; None where that does not matter."""
        event, site = fresh.arrival.event, fresh.batch.version.site
        place = place_of(event.place)
        if place is None or site.cases is None or not wants_near(event, site):
            return None
        rules = site.cases.proposals
        return Spot(place, event.time, event.exercise, rules.radius_m, rules.within_s)

    async def _write_units(self, places: Mapping[str, UnitState]) -> None:
        rows: list[tuple[object, ...]] = []
        for unit in sorted({*self._changed_units, *places}):
            state = self._units[unit] if unit in self._changed_units else UnitState(unit=unit)
            place = _later(state, places.get(unit))
            # Where it is stands in the columns alone: it changes without a new version.
            body = _encode(msgspec.structs.replace(state, lat=None, lon=None, position_at=None))
            rows.append(
                (
                    *(unit, state.version, state.status.value, place.lat, place.lon, place.position_at),
                    *(SEPARATOR.join(state.cases), body),
                )
            )
        if rows:
            await self._connection.execute(SQL["put_units"], *zip(*rows, strict=True))

    def _command_rows(self) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        for fresh, decided, _, state, version in self._outcomes:
            event = fresh.arrival.event
            if not isinstance(event, CaseCommand):
                continue
            rows.append(
                (
                    *(event.source, event.id, event.subject or "", name_of(event.data.do)),
                    *(decided.refusal is None, decided.refusal, decided.detail, state, version, event.time),
                )
            )
        return rows

    async def _write_proposals(self) -> None:
        proposals = [one for outcome in self._outcomes for one in outcome.decided.proposals]
        if proposals:
            # A statement changes a row once: of several for two cases the last one holds.
            rows = {
                (one.case, one.other): (one.case, one.other, one.score, _encode(one.reasons)) for one in proposals
            }
            await self._connection.execute(SQL["put_proposals"], *zip(*rows.values(), strict=True))
        judged = {
            frozenset((one.case, one.other)): (one.case, one.other, one.state)
            for outcome in self._outcomes
            for one in outcome.decided.judged
        }
        if judged:
            await self._connection.execute(SQL["judge_proposals"], *zip(*judged.values(), strict=True))

    async def _write_elsewhere(self) -> None:
        """What commands about alert rules and persons ask for."""
        for fresh, decided, *_ in self._outcomes:
            event = fresh.arrival.event
            if decided.silenced and isinstance(event, CaseCommand):
                await apply_silence(self._connection, event)
        await erase_persons(self._connection, self._erased())

    def _outgoing_rows(self) -> list[tuple[str, str, str, bytes]]:
        rows: dict[str, tuple[str, str, str, bytes]] = {}
        for fresh, decided, *_ in self._outcomes:
            event = fresh.arrival.event
            cause = Cause(event.source, event.id, fresh.arrival.received_at)
            for one in _onto_the_log(fresh, cause, decided):
                rows[one.id] = one.id, LOG_CHANNEL, one.target, one.body
            for number, notice in enumerate(decided.notices):
                id_ = f"notice:{cause.name}:{number}"
                rows[id_] = id_, NOTICE_CHANNEL, notice.case, _encode(notice)
        return list(rows.values())

    def _records(self) -> dict[int, list[Record]]:
        """What was decided, by chain: one for each partition."""
        records: dict[int, list[Record]] = {}
        for outcome in self._outcomes:
            if _is_for_the_record(outcome):
                records.setdefault(outcome.fresh.batch.lane.partition, []).append(_record(outcome))
        return records

    def _erased(self) -> Iterator[tuple[str, datetime]]:
        """Whom to erase, as of when. A drill erases nobody."""
        for fresh, decided, *_ in self._outcomes:
            if not fresh.arrival.event.exercise:
                yield from ((person, fresh.arrival.received_at) for person in decided.erased)


class _Cases(Mapping[CaseId, Case]):
    """The cases that are held, as they are at any moment."""

    def __init__(self, held: Mapping[CaseId, _Held]) -> None:
        self._held = held

    def __getitem__(self, id_: CaseId) -> Case:
        return self._held[id_].case

    def __iter__(self) -> Iterator[CaseId]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


def _columns(rows: Sequence[Sequence[object]], width: int) -> list[Sequence[object]]:
    """The columns of rows that are `width` wide, also where there are none."""
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _onto_the_log(fresh: Fresh, cause: Cause, decided: Decided) -> Iterator[Outgoing]:
    """The events that a decision causes."""
    areas, exercise = fresh.batch.version.site.areas, fresh.arrival.event.exercise
    for event in stepped(areas, cause, decided.steps):
        yield outgoing(event)
    for event in told_of_duty(areas, cause, decided.duties, exercise=exercise):
        yield outgoing(event)
    for event in following(areas, cause, decided.commands, exercise=exercise):
        yield outgoing(event)
    for event in decided.signals:
        yield outgoing(event)


def _is_for_the_record(outcome: _Outcome) -> bool:
    """Whether anything was decided. A signal that concerns no case leaves no trace."""
    decided = outcome.decided
    return (
        isinstance(outcome.fresh.arrival.event, CaseCommand)
        or decided.refusal is not None
        or bool(decided.cases or decided.entries or decided.units)
    )


def _record(outcome: _Outcome) -> Record:
    arrival, decided = outcome.fresh.arrival, outcome.decided
    event = arrival.event
    is_command = isinstance(event, CaseCommand)
    actor = event.data.actor if is_command else None
    do = event.data.do if is_command else None
    return Record(
        recorded_at=arrival.received_at.astimezone(UTC),
        at=event.time.astimezone(UTC),
        what=name_of(event.data.do) if is_command else type_of(event),
        subject=case_of(event),
        source=event.source,
        id=event.id,
        event=digest(arrival.raw),
        actor="" if actor is None else actor.id,
        roles=() if actor is None else actor.roles,
        exercise=event.exercise,
        refusal=decided.refusal,
        cases=outcome.after,
        units=tuple(state.unit for state in decided.units),
        detail={"what": do.what, "reason": do.reason} if isinstance(do, Reveal) else {},
    )


def _case_row(held: _Held) -> tuple[object, ...]:
    case = held.case
    place = place_of(case.place)
    return (
        *(case.id, case.version, held.entries, case.kind, case.state, case.is_open, case.category, case.severity),
        *(case.area, SEPARATOR.join(case.areas)),
        *((None, None) if place is None else (place.lat, place.lon)),
        *(case.title, case.agency, case.accused_agency, SEPARATOR.join(case.units), SEPARATOR.join(case.tracking)),
        *(case.merged_into, case.exercise, case.published, case.opened_at, case.recorded_at, case.changed_at),
        *(case.due_at, case.closed_at, held.body),
    )


def _places(passing: Iterable[LaneBatch]) -> dict[str, UnitState]:
    """Where the units of the site were last, as far as these batches say. A drill moves nobody."""
    places: dict[str, UnitState] = {}
    for batch in passing:
        for arrival in batch.arrivals:
            event = arrival.event
            if not isinstance(event, UnitPositioned) or event.exercise or (at := place_of(event.place)) is None:
                continue
            unit = event.data.unit
            if unit not in batch.version.site.units:
                continue
            before = places.get(unit)
            if before is None or before.position_at is None or before.position_at < event.time:
                places[unit] = UnitState(unit=unit, lat=at.lat, lon=at.lon, position_at=event.time)
    return places


def _later(known: UnitState, heard: UnitState | None) -> UnitState:
    """Of two places of a unit the one where it was last."""
    if heard is None or heard.position_at is None:
        return known
    return heard if known.position_at is None or known.position_at < heard.position_at else known
