"""Who notices that something was due to happen to a case?

Whichever worker looks first. It turns the deadline's row into a command that waits to be written to the log, and
notes that it has, in one transaction: a worker that is killed has done nothing, and the next one does it. What the
command brings about is decided where all commands are, on the case as it is then.
"""

from importlib.resources import files

from schemas.area_id import AreaId
from schemas.case import CaseId, Deadline
from schemas.site import Site
from schemas.statements import parse_statements
from streams import metrics
from streams.core.consequence import outgoing, passed
from streams.store.cells import Connection
from streams.store.outbox import put_on_log

ROWS_MAX = 500
"""Deadlines in one transaction. After an outage thousands may be due."""

_SQL = parse_statements((files("streams.maintenance") / "deadlines.sql").read_text())


async def pass_deadlines(connection: Connection, site: Site, rows_max: int = ROWS_MAX) -> bool:
    """Turns deadlines that are due into commands. Returns whether there may be more."""
    if not await connection.fetchval(_SQL["is_due"]):
        return False
    async with connection.transaction():
        rows = await connection.fetch(_SQL["take_due"], rows_max)
        if not rows:
            return False
        ids = list({row["case_id"] for row in rows})
        places = {row["id"]: row for row in await connection.fetch(_SQL["read_places"], ids)}
        events = [
            outgoing(
                passed(
                    site.areas,
                    Deadline(case=CaseId(row["case_id"]), name=row["name"], due_at=row["due_at"]),
                    places[row["case_id"]]["version"],
                    AreaId(places[row["case_id"]]["area"]),
                    row["fired_at"],
                    exercise=places[row["case_id"]]["is_exercise"],
                )
            )
            for row in rows
        ]
        await put_on_log(connection, events)
    metrics.DEADLINES.inc(len(rows))
    for row in rows:
        metrics.DEADLINE_LATE_S.observe(max(0.0, (row["fired_at"] - row["due_at"]).total_seconds()))
    return len(rows) == rows_max
