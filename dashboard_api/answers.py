"""What does the database say to a client that just subscribed?

Everything is read in one transaction that sees one moment, and the position is that moment's.
"""

from datetime import datetime, timedelta

from dashboard_api import events, series, sources
from dashboard_api.cases import Order, read_list
from dashboard_api.commands import outcome_text, read_decided
from dashboard_api.config import Bounds, DashboardConfig
from dashboard_api.database import Database, Reader
from dashboard_api.homes import still_shown
from dashboard_api.live_cases import case_text, read_live_units, wordless_unit
from dashboard_api.messages import series_text, value_text
from dashboard_api.position import Position
from dashboard_api.session import Handling, ReadRequest, Resumption, Rights, Snapshot, SnapshotReason
from dashboard_api.statements import load_statements
from dashboard_api.subscription import Subscription
from dashboard_api.touched import AHEAD_S, Change, Wanted, decode_touched, oldest_shown_s, touched_points
from dashboard_api.written import read_excerpts, reads_words
from schemas.display import is_display
from schemas.window import TIERS

_SQL = load_statements("feed")
_ONE_MOMENT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


async def answer(database: Database, request: ReadRequest, config: DashboardConfig) -> Snapshot | Resumption:
    """A resumption where the client's position allows it, else a snapshot. Raises DependencyUnavailable."""
    now, subscription, reason = config.now(), request.subscription, request.reason
    async with database.reading("live") as reader:
        await reader.execute(_ONE_MOMENT)
        horizon = await read_horizon(reader)
        found: Snapshot | Resumption | None = None
        if subscription.position is not None and reason is None:
            reason = await _why_not(reader, subscription.position, horizon, config.bounds)
            if reason is None:
                resumed = await _resume(reader, subscription, request.rights, horizon, config, now)
                if isinstance(resumed, SnapshotReason):
                    reason = resumed
                else:
                    found = resumed
        if found is None:
            found = await _snapshot(reader, subscription, request.rights, horizon, reason, config, now)
        await reader.execute("COMMIT")
    return found


async def read_horizon(reader: Reader) -> Position:
    """The present position: nothing will be committed at or below it any more."""
    row = await reader.fetchrow(_SQL["read_horizon"])
    assert row is not None, "the first migration fills the table `feed`"
    return Position(row["epoch"], row["xid"])


async def is_kept(reader: Reader, position: Position, bounds: Bounds) -> bool:
    """Whether every change row after this position is certain to be there still."""
    age = timedelta(seconds=bounds.resume_age_s)
    return bool(await reader.fetchval(_SQL["is_kept"], str(position.xid), age))


async def _why_not(reader: Reader, position: Position, horizon: Position, bounds: Bounds) -> SnapshotReason | None:
    """Why changes since this position cannot be told; None when they can."""
    # A position beyond the horizon is not of this database's present life, whatever its epoch says.
    if position.epoch != horizon.epoch or position.xid > horizon.xid:
        return SnapshotReason.EPOCH_CHANGED
    return None if await is_kept(reader, position, bounds) else SnapshotReason.POSITION_TOO_OLD


async def _resume(
    reader: Reader,
    subscription: Subscription,
    rights: Rights,
    horizon: Position,
    config: DashboardConfig,
    now: datetime,
) -> Resumption | SnapshotReason:
    after, site, bounds = subscription.position, config.site, config.bounds
    assert after is not None
    rows = await reader.fetch(_SQL["read_changes"], str(after.xid), bounds.resume_changes_max + 1)
    changes = [
        Change(r["xid"], r["committed_at"], decode_touched(r["touched"])) for r in rows if r["xid"] is not None
    ]
    if len(changes) > bounds.resume_changes_max:
        return SnapshotReason.POSITION_TOO_OLD
    if any(change.touched is None for change in changes):
        return SnapshotReason.UNREADABLE_CHANGE
    if any(change.touched and change.touched.reload for change in changes):
        return SnapshotReason.RELOAD
    now_s = now.timestamp()
    wanted = Wanted(
        {kpi: {area: {subscription.tier} for area in subscription.areas} for kpi in subscription.kpis},
        {tier: oldest_shown_s(now_s, tier, subscription.points) for tier in TIERS},
        subscription.events > 0,
        subscription.sources,
    )
    minutes = touched_points(changes, wanted, site, now_s)
    values = await series.read_points(reader, minutes, site)
    shown: list[str] = []
    skipped = 0
    if subscription.events:
        new, skipped = await events.read_between(reader, after, horizon, site.areas, bounds.events_max)
        inside = [
            event.text
            for event in new
            if event.exercise is subscription.exercise
            and not set(subscription.areas).isdisjoint(event.path)
            and event.is_for(rights.actor)
        ]
        shown = inside[-subscription.events :]
        skipped += len(inside) - len(shown)
    heard = {source for change in changes if change.touched for source in change.touched.sources}
    return Resumption(
        position=horizon,
        values=[value_text(p, horizon.xid, minutes[p], value) for p, value in values.items()],
        events=shown,
        events_skipped=skipped,
        sources=list((await sources.read_some(reader, site, heard, now)).values())
        if subscription.sources and heard
        else [],
        handling=await _handling(reader, subscription, rights, config, now, (after, horizon)),
    )


async def _handling(
    reader: Reader,
    subscription: Subscription,
    rights: Rights,
    config: DashboardConfig,
    now: datetime,
    since: tuple[Position, Position] | None,
) -> Handling:
    """The cases and units that the client shows, whole; and what became of its own commands in (`since`]."""
    site, bounds = config.site, config.bounds
    cases: list[tuple[str, str]] | None = None
    has_more = False
    if subscription.cases is not None:
        found = await read_list(reader, rights.actor, subscription.cases, Order.DUE, None, bounds.cases_max + 1)
        has_more = len(found) > bounds.cases_max
        page, actor = found[: bounds.cases_max], rights.actor
        told = await still_shown(reader, actor, [case for case in page if reads_words(actor, case)])
        excerpts = await read_excerpts(reader, config.key_ring, told)
        cases = [(case.id, case_text(site, case, actor, excerpts.get(case.id))) for case in page]
    units = await read_live_units(reader, site, rights.units, now) if subscription.units else None
    if units is not None and is_display(rights.actor):
        units = {id_: wordless_unit(text) for id_, text in units.items()}
    decided = (
        await read_decided(reader, *since, [rights.source], bounds.decided_max)
        if since is not None and subscription.commands
        else []
    )
    return Handling(
        cases=cases,
        has_more=has_more,
        units=None if units is None else list(units.values()),
        outcomes=[outcome_text(outcome) for _, outcome in decided],
    )


async def _snapshot(
    reader: Reader,
    subscription: Subscription,
    rights: Rights,
    horizon: Position,
    reason: SnapshotReason | None,
    config: DashboardConfig,
    now: datetime,
) -> Snapshot:
    site = config.site
    now_s = now.timestamp()
    ahead_s = int(now_s) + AHEAD_S
    # The site pack may have lost a KPI or an area since the client subscribed.
    areas = [area for area in subscription.areas if area in site.areas]
    wanted = [one for one in subscription.series if one.kpi in site.kpis and one.area in site.areas]
    values, minutes = {}, {}
    if wanted:
        kpis = list(dict.fromkeys(one.kpi for one in wanted))
        values = await series.read_windows(reader, wanted, site, subscription.points, now_s, ahead_s)
        minutes = await series.read_last_minutes(reader, site, kpis, areas, now_s, ahead_s)
    listed = await events.read_recent(
        reader,
        rights.actor,
        site.areas,
        horizon.epoch,
        events.EventFilter(areas=events.descendants(site.areas, areas), exercise=subscription.exercise),
        None,
        subscription.events,
    )
    states = await sources.read_all(reader, site, now, config.bounds.sources_max) if subscription.sources else []
    return Snapshot(
        position=horizon,
        reason=reason,
        series=[
            series_text(one, site.areas[one.area].zone, minutes.get((one.kpi, one.area)), values[one])
            for one in wanted
        ],
        events=[event.text for event in reversed(listed)],
        sources=[sources.source_text(state) for state in states],
        handling=await _handling(reader, subscription, rights, config, now, None),
    )
