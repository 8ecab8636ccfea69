"""What do the tables of cases look like to a test, as the stream workers write them?"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from schemas.case import Case, CaseId, Entry, Kind, Severity, State
from schemas.command import Action, Actor, Command, name_of
from schemas.event import AreaId, CaseCommand
from schemas.location import parse_geo
from schemas.unit import UnitState

Connection = Any
"""An asyncpg connection."""

OPENED_AT = datetime(2026, 9, 1, 8, 0, tzinfo=UTC)


def case(id_: str, **fields: Any) -> Case:
    """A case with what a test does not care about filled in."""
    area = fields.pop("area", "01")
    known: dict[str, Any] = {
        "version": 1,
        "kind": Kind.SERVICE,
        "state": State.NEW,
        "category": "road",
        "severity": Severity.MINOR,
        "areas": ("00", area) if area != "00" else ("00",),
        "opened_at": OPENED_AT,
        "recorded_at": OPENED_AT,
        "changed_at": OPENED_AT,
        "title": f"Case {id_}",
    }
    return Case(id=CaseId(id_), area=AreaId(area), **(known | fields))


async def put_cases(connection: Connection, *cases: Case) -> None:
    """Writes cases as they are now, in the caller's transaction if there is one."""
    for one in cases:
        place = parse_geo(one.place) if one.place else None
        await connection.execute(
            """INSERT INTO cases (id, version, kind, state, is_open, category, severity, area, areas, lat, lon, title,
            agency, accused_agency, units, tracking, merged_into, is_exercise, is_published, opened_at, recorded_at,
            changed_at, due_at, closed_at, body)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
            $22, $23, $24, $25)
            ON CONFLICT (id) DO UPDATE SET version = excluded.version, kind = excluded.kind, state = excluded.state,
            is_open = excluded.is_open, category = excluded.category, severity = excluded.severity,
            area = excluded.area, areas = excluded.areas, lat = excluded.lat, lon = excluded.lon,
            title = excluded.title, agency = excluded.agency, accused_agency = excluded.accused_agency,
            units = excluded.units, tracking = excluded.tracking, merged_into = excluded.merged_into,
            is_exercise = excluded.is_exercise, is_published = excluded.is_published,
            opened_at = excluded.opened_at, recorded_at = excluded.recorded_at, changed_at = excluded.changed_at,
            due_at = excluded.due_at, closed_at = excluded.closed_at, body = excluded.body,
            xid = pg_current_xact_id()""",
            *(one.id, one.version, one.kind, one.state, one.is_open, one.category, one.severity, one.area),
            *(list(one.areas), place.lat if place else None, place.lon if place else None, one.title),
            *(one.agency, one.accused_agency, list(one.units), list(one.tracking), one.merged_into, one.exercise),
            *(one.published, one.opened_at, one.recorded_at, one.changed_at, one.due_at, one.closed_at),
            msgspec.json.encode(one),
        )


async def put_entries(connection: Connection, *entries: Entry) -> None:
    """Adds lines to timelines."""
    for one in entries:
        await connection.execute(
            """INSERT INTO case_entry (case_id, number, at, recorded_at, is_public, body)
            VALUES ($1, $2, $3, $4, $5, $6)""",
            *(one.case, one.number, one.at, one.recorded_at, one.public, msgspec.json.encode(one)),
        )


async def put_units(connection: Connection, *states: UnitState) -> None:
    """Writes what is known of units."""
    for one in states:
        await connection.execute(
            """INSERT INTO unit_state (unit, version, status, lat, lon, position_at, cases, body)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (unit) DO UPDATE SET version = excluded.version,
            status = excluded.status, lat = excluded.lat, lon = excluded.lon, position_at = excluded.position_at,
            cases = excluded.cases, body = excluded.body, xid = pg_current_xact_id()""",
            *(one.unit, one.version, one.status, one.lat, one.lon, one.position_at, list(one.cases)),
            msgspec.json.encode(one),
        )


async def put_proposal(connection: Connection, case_id: str, other_id: str, score: float = 0.8) -> None:
    """Says that two cases may be one."""
    await connection.execute(
        "INSERT INTO proposal (case_id, other_id, score, reasons, state) VALUES ($1, $2, $3, $4, 'proposed')",
        *(case_id, other_id, score, msgspec.json.encode(["near_m:12"])),
    )


async def put_command(
    connection: Connection,
    who: Actor,
    id_: str,
    subject: str,
    action: Action,
    *,
    refusal: str | None = None,
    state: str | None = None,
    version: int | None = None,
    age: timedelta = timedelta(),
    source: str | None = None,
) -> None:
    """Keeps a command and what became of it, by default of a person's."""
    source, now = source or f"person:{who.id}", datetime.now(UTC)
    event = CaseCommand(
        specversion="1.0",
        id=id_,
        source=source,
        subject=subject,
        time=now,
        data=Command(do=action, actor=who),  # type: ignore[arg-type]  # any action of the union
    )
    await connection.execute(
        """INSERT INTO event (source, id, type, subject, time, received_at, area, area_list, body, window_time,
        case_id)
        VALUES ($1, $2, 'ioc.case.command.v1', $3, $4, $4, '00', 'test-2025', $5, $4, $6)""",
        *(source, id_, subject, now, msgspec.json.encode(event), None if ":" in subject else subject),
    )
    await connection.execute(
        """INSERT INTO command (source, id, subject, action, is_applied, reason, state, version, made_at, decided_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp() - $10::interval)""",
        *(source, id_, subject, name_of(action), refusal is None, refusal, state, version, now, age),
    )


async def put_event(
    connection: Connection,
    case_id: str | None,
    text: str,
    *,
    id_: str | None = None,
    accused: str | None = None,
    area: str = "01",
    data: Mapping[str, object] | None = None,
) -> None:
    """Keeps a citizen's report that is a signal of a case, or of none."""
    now, name = datetime.now(UTC), id_ or f"report-{case_id}"
    event = {
        "specversion": "1.0",
        "id": name,
        "source": "hotline",
        "type": "ioc.feedback.received.v1",
        "subject": case_id,
        "time": now,
        "area": area,
        "arealist": "test-2025",
        "data": {"category": "road", "text": text} | ({"accused_agency": accused} if accused else {}) | (data or {}),
    }
    await connection.execute(
        """INSERT INTO event (source, id, type, subject, time, received_at, area, area_list, body, window_time,
        case_id)
        VALUES ('hotline', $1, 'ioc.feedback.received.v1', $2, $3, $3, $5, 'test-2025', $4, $3, $2)""",
        *(name, case_id, now, msgspec.json.encode(event), area),
    )


async def put_audit(connection: Connection, subject: str) -> None:
    """Adds a row to chain 0 of the audit log, which nobody verifies here: its hash is its number."""
    number = 1 + int(await connection.fetchval("SELECT count(*) FROM audit"))
    body = {"what": "ioc.feedback.received.v1", "subject": subject, "cases": [[subject, 1, "new", "00"]]}
    await connection.execute(
        "INSERT INTO audit (chain, number, recorded_at, subject, body, hash) VALUES (0, $1, $2, $3, $4, $5)",
        *(number, OPENED_AT, subject, msgspec.json.encode(body), bytes([number]) * 32),
    )
    await connection.execute(
        """INSERT INTO audit_head (chain, number, hash) VALUES (0, $1, $2)
        ON CONFLICT (chain) DO UPDATE SET number = excluded.number, hash = excluded.hash""",
        *(number, bytes([number]) * 32),
    )


async def tell(
    connection: Connection,
    cases: Sequence[str] = (),
    units: Sequence[str] = (),
    *,
    events: int = 0,
    commands: bool = False,
) -> None:
    """Writes the row of the change feed, and wakes who waits for it when the transaction commits."""
    change = {"events": events, "cases": list(cases), "units": list(units), "commands": commands}
    await connection.execute("INSERT INTO change (touched) VALUES ($1)", msgspec.json.encode(change))
    await connection.execute("NOTIFY ioc_change")
