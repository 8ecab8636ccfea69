"""Does anybody count?

A figure is live only while a worker counts: the database and the socket may both be up over figures that stand still.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct

from dashboard_api.database import Reader
from dashboard_api.messages import StreamsState
from dashboard_api.statements import load_statements

SILENT_AFTER_S = 5.0
"""A worker beats every two seconds. Without a beat for longer than this it does not count, whatever it said last."""

FORGOTTEN_AFTER_S = 3600.0
"""A worker that was silent for longer is no part of the centre any more."""

LOOK_EVERY_S = 0.5
"""Between two looks at the workers, so that boards hear of a halt within a second."""

_SQL = load_statements("workers")


class WorkerState(Struct, frozen=True, kw_only=True):
    """A worker. `detail` says why it halted; a halted worker has ended, so `beat_at` is its last word."""

    id: str
    state: Literal["starting", "counting", "halted", "silent"]
    detail: str
    beat_at: datetime


async def read_all(reader: Reader, limit: int) -> list[WorkerState]:
    """The workers heard within the hour, those heard last first."""
    return [
        WorkerState(
            id=row["id"],
            # What a halted worker said last stays true after it has ended.
            state="silent" if row["age_s"] > SILENT_AFTER_S and row["state"] != "halted" else row["state"],
            detail=row["detail"],
            beat_at=row["beat_at"],
        )
        for row in await reader.fetch(_SQL["read_all"], FORGOTTEN_AFTER_S, limit)
    ]


def streams_state(workers: Sequence[WorkerState], before: StreamsState, now: datetime) -> StreamsState:
    """What the workers are together. `workers` are in the order of `read_all`, `before` is what was said last.

    One that counts is enough. `since` is kept for as long as nobody does: workers that start and halt again and again
    have not counted in between.
    """
    states = {worker.state for worker in workers}
    if "counting" in states:
        return StreamsState(state="up", since=before.since if before.state == "up" else now)
    known = before.state == "away" and before.reason != "unknown"
    since = before.since if known else workers[0].beat_at if workers else now
    for worker in workers:
        if worker.state == "halted":
            return StreamsState(state="away", since=since, reason="halted", detail=f"{worker.id}: {worker.detail}")
    if "silent" in states:
        names = ", ".join(sorted(worker.id for worker in workers if worker.state == "silent"))
        return StreamsState(state="away", since=since, reason="silent", detail=f"no sign of life from {names}")
    if "starting" in states:
        return StreamsState(state="away", since=since, reason="starting", detail="the workers are starting")
    return StreamsState(state="away", since=since, reason="none", detail="no worker runs")
