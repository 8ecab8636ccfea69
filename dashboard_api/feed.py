"""What has been committed since we last looked, and who shows it?

One task for each process. A notification only wakes it, for notifications are lost with their connection; the change
rows say what happened. Its position stays in memory while the database is away, so nothing is missed when it is back.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime

import asyncpg

from dashboard_api import events, metrics, series, sources, workers
from dashboard_api.answers import is_kept, read_horizon
from dashboard_api.commands import outcome_text, read_decided
from dashboard_api.config import DashboardConfig
from dashboard_api.conflation import Part
from dashboard_api.database import AWAY_ERRORS, Connection, Database
from dashboard_api.hub import Batch, Hub
from dashboard_api.live_cases import read_live_cases, read_live_units
from dashboard_api.messages import FeedState, StreamsState, value_text
from dashboard_api.pace import GAP_MIN_S, gap_s
from dashboard_api.position import Position
from dashboard_api.session import SnapshotReason
from dashboard_api.statements import load_statements
from dashboard_api.touched import Change, decode_touched, touched_points
from schemas.event import AreaId

CHANNEL = "ioc_change"
HELD_AFTER_S = 2.0  # a commit that cannot be shown for so long makes the feed `held`
_RETRY_MIN_S, _RETRY_MAX_S = 0.1, 1.0  # between two attempts to reach the database

_SQL = load_statements("feed")
_log = logging.getLogger(__name__)


class Feed:
    """Reads changes in commit order and hands them to the hub."""

    def __init__(self, config: DashboardConfig, database: Database, hub: Hub) -> None:
        self._config = config
        self._database = database
        self._hub = hub
        self._wake = asyncio.Event()
        self._on_commit: list[Callable[[], None]] = []
        self._held_since: datetime | None = None
        self._streams = StreamsState(
            state="away", since=config.now(), reason="unknown", detail="the workers were not looked at yet"
        )
        # The latest minute with events, by KPI and area: bounded by the catalogue times the area tree.
        self._last_minutes: dict[tuple[str, AreaId], int] = {}

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Calls `listener` when somebody says that they committed, before it is known what."""
        self._on_commit.append(listener)

    @property
    def state(self) -> FeedState:
        """How fresh the feed is at this moment."""
        now, database = self._config.now(), self._database.state
        if database.state == "away":
            return FeedState(state="away", lag_s=_since_s(database.since, now))
        lag_s = _since_s(self._held_since, now)
        return FeedState(state="held" if lag_s > HELD_AFTER_S else "live", lag_s=lag_s)

    @property
    def streams(self) -> StreamsState:
        """Whether anybody counts, as far as the database can be asked."""
        database = self._database.state
        if database.state == "away":
            return StreamsState(
                state="away", since=database.since, reason="unknown", detail="not known while the database is away"
            )
        return self._streams

    async def run(self) -> None:
        """Never ends by itself. Whatever goes wrong, it says so, waits and goes on from its position."""
        retry_s = _RETRY_MIN_S
        while True:
            connection: Connection | None = None
            try:
                connection = await self._database.connect()
                await connection.add_listener(CHANNEL, self._notified)
                connection.add_termination_listener(self._terminated)
                await self._begin(connection)
                self._database.came()
                retry_s = _RETRY_MIN_S
                await self._follow(connection)
            except (*AWAY_ERRORS, asyncpg.PostgresError) as error:
                self._database.went(error)
            except Exception as error:
                # A feed that ended would leave every board silently stale.
                _log.exception("the change feed failed")
                self._database.went(error)
            finally:
                if connection is not None:
                    connection.terminate()
            await asyncio.sleep(retry_s)
            retry_s = min(_RETRY_MAX_S, retry_s * 2)

    async def _begin(self, connection: Connection) -> None:
        """Takes up the position of before, or the present one."""
        horizon, position = await read_horizon(connection), self._hub.position
        if position is None:
            self._hub.position = horizon
        elif position.epoch != horizon.epoch or position.xid > horizon.xid:
            self._reset(horizon, SnapshotReason.EPOCH_CHANGED)
        elif not await is_kept(connection, position, self._config.bounds):
            self._reset(horizon, SnapshotReason.POSITION_TOO_OLD)

    async def _follow(self, connection: Connection) -> None:
        loop, bounds = asyncio.get_running_loop(), self._config.bounds
        look_s = loop.time()
        while True:
            if loop.time() >= look_s:
                await self._look_at_workers(connection)
                look_s = loop.time() + workers.LOOK_EVERY_S
            # Cleared before reading: what is notified meanwhile may or may not be in what is read.
            self._wake.clear()
            started_s, busy_s = loop.time(), time.thread_time()
            more = await self._read(connection)
            # What was handed to the sockets is written at the end of the loop's turn, and counts as well.
            await asyncio.sleep(0)
            rest_s = started_s + gap_s(time.thread_time() - busy_s) - loop.time()
            if rest_s > 0:
                await asyncio.sleep(rest_s)
            if more:
                continue
            # What holds the horizon back may end without a notification.
            wait_s = GAP_MIN_S if self._held_since is not None else bounds.poll_s
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _look_at_workers(self, connection: Connection) -> None:
        """Notes whether anybody counts, and tells the boards at once when that changes."""
        found = await workers.read_all(connection, self._config.bounds.workers_max)
        for state in metrics.WORKER_STATES:
            metrics.WORKERS.labels(state).set(sum(worker.state == state for worker in found))
        state = workers.streams_state(found, self._streams, self._config.now())
        if state != self._streams:
            self._streams = state
            self._hub.wake()

    async def _read(self, connection: Connection) -> bool:
        """Reads and publishes one batch. Returns whether there is more at once."""
        position, limit = self._hub.position, self._config.bounds.changes_max
        assert position is not None, "_begin sets it"
        rows = await connection.fetch(_SQL["read_changes"], str(position.xid), limit)
        horizon = Position(rows[0]["epoch"], rows[0]["horizon_xid"])
        self._held_since = rows[0]["held_since"]
        metrics.FEED_LAG_S.set(_since_s(self._held_since, self._config.now()))
        if horizon.epoch != position.epoch or horizon.xid < position.xid:
            self._reset(horizon, SnapshotReason.EPOCH_CHANGED)
            return False
        changes = [
            Change(row["xid"], row["committed_at"], decode_touched(row["touched"]))
            for row in rows
            if row["xid"] is not None
        ]
        if any(change.touched is None for change in changes):
            _log.error("a change row of %s could not be read; all clients get a snapshot", horizon)
            self._reset(horizon, SnapshotReason.UNREADABLE_CHANGE)
            return False
        if any(change.touched and change.touched.reload for change in changes):
            self._last_minutes.clear()
            self._reset(horizon, SnapshotReason.RELOAD)
            return False
        more = len(changes) == limit
        through = Position(horizon.epoch, changes[-1].xid) if more else horizon
        if not changes:
            self._hub.position = through
            return False
        with metrics.FEED_READ_S.time():
            batch = await self._batch(connection, changes, position, through)
        try:
            parts = self._hub.publish(batch, self._config.now().timestamp())
        except Exception:
            # Some were told and others were not, and the batch is not told again.
            self._reset(through, SnapshotReason.UNREADABLE_CHANGE)
            raise
        now = self._config.now()
        for part in parts:
            _measure(part, now)
        return more

    async def _batch(
        self, connection: Connection, changes: list[Change], after: Position, through: Position
    ) -> Batch:
        """Reads what the changes touched, as far as somebody shows it.

        The values are read after the position was, so they hold at least everything up to it. What they hold beyond
        it will come again with its own change.
        """
        site, now = self._config.site, self._config.now()
        wanted = self._hub.begin_reading(through, now.timestamp())
        touched = [change.touched for change in changes if change.touched]
        minutes = touched_points(changes, wanted, site, now.timestamp())
        for point, minute_s in minutes.items():
            key = (point.kpi, point.area)
            self._last_minutes[key] = max(self._last_minutes.get(key, 0), minute_s)
        values = await series.read_points(connection, minutes, site)
        new, skipped = (
            await events.read_between(connection, after, through, site.areas, self._config.bounds.events_max)
            if wanted.events and any(t.events for t in touched)
            else ([], 0)
        )
        heard = {source for t in touched for source in t.sources} if wanted.sources else set[str]()
        changed = {id_ for t in touched for id_ in t.cases} if wanted.cases else set[str]()
        moved = {unit for t in touched for unit in t.units} if wanted.units else set[str]()
        is_decided = bool(wanted.commands_of) and any(t.commands for t in touched)
        return Batch(
            position=through,
            values={
                point: value_text(point, through.xid, self._last_minutes[point.kpi, point.area], value)
                for point, value in values.items()
            },
            events=new,
            events_skipped=skipped,
            sources=await sources.read_some(connection, site, heard, now) if heard else {},
            committed_at=min(change.committed_at for change in changes),
            cases=await read_live_cases(connection, site, changed, self._config.key_ring) if changed else (),
            units=await read_live_units(connection, site, moved, now) if moved else {},
            outcomes=[
                (outcome.source, xid, outcome_text(outcome))
                for xid, outcome in await read_decided(
                    connection, after, through, wanted.commands_of, self._config.bounds.decided_max
                )
            ]
            if is_decided
            else (),
        )

    def _reset(self, position: Position, reason: SnapshotReason) -> None:
        metrics.FEED_RESETS.labels(reason).inc()
        self._hub.reset(position, reason)

    def _notified(self, *_: object) -> None:
        self._wake.set()
        for listener in self._on_commit:
            listener()

    def _terminated(self, *_: object) -> None:
        self._wake.set()


def _measure(part: Part, now: datetime) -> None:
    """Notes how long it took until all who were free had been told."""
    if part.says_something and part.committed_at is not None:
        metrics.COMMIT_TO_SEND_S.observe(_since_s(part.committed_at, now))
        for event in part.flush.events:
            metrics.RECEIVED_TO_SEND_S.observe(_since_s(event.received_at, now))


def _since_s(moment: datetime | None, now: datetime) -> float:
    """Seconds since then, never negative: two clocks are at work here."""
    return 0.0 if moment is None else max(0.0, (now - moment).total_seconds())
