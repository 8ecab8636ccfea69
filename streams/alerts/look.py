"""What comes of a rule now, and how does the database come to hold it, once?

A rule is claimed for a while by whichever worker is up, who reads without a transaction, decides by
`streams.core.alert`, and writes all that came of it in one transaction. That moves the rule on from where it was:
what somebody else has looked at meanwhile is thrown away. A worker that is killed has done nothing, and its claim
runs out.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import NamedTuple

import msgspec

from schemas.alert import SHORTEST_S, AlertRule, Series
from schemas.alert_table import inhibitors
from schemas.area_id import AreaId
from schemas.event import AlertChanged, AreaCode
from schemas.site import Site
from streams.alerts import metrics
from streams.alerts.statements import SQL
from streams.alerts.values import read_samples, read_settled_s
from streams.core.alert import (
    FIRES,
    AlertStep,
    Firing,
    Held,
    Judged,
    Mutes,
    OpenAlert,
    Silenced,
    Standing,
    Verdict,
    look,
    readings_at,
)
from streams.core.alert_message import event_of, subject_of, withdrawn_event
from streams.core.consequence import outgoing
from streams.store.cells import Connection
from streams.store.outbox import put_on_log

LEASE_S = 30.0
"""How long a rule belongs to who claimed it. What takes longer is thrown away where somebody else was faster."""

AGAIN_S = 5.0
AGAIN_MAX_S = 60.0
"""Between two looks at a rule of which nothing more can be decided yet, also when its next step is a day away: its
width may change."""

STEPS_MAX = 60
"""Steps that one look decides. More are decided in the next one, at once."""

AREA_STEPS_MAX = 10_000
"""Areas times steps of one look, for counting waits meanwhile."""

CATCH_UP_S = 6 * 3600.0
"""Steps longer ago than this are skipped after an outage: nobody can act on them. `ioc backtest` tells of them."""

INHIBITION_WAIT_S = 600.0
"""A rule waits so long for one that inhibits it and has not come as far."""

_standing = msgspec.json.Decoder(Standing)
_alert = msgspec.json.Decoder(OpenAlert)
_event = msgspec.json.Decoder(AlertChanged)


class Claim(NamedTuple):
    """A rule that is this worker's to look at, and the step after which it begins."""

    rule: AlertRule
    looked_s: int


class Found(NamedTuple):
    """What a look has come to. `looked_s` is its last step; `again_s` is when the rule is due again."""

    looked_s: int
    before: Held
    after: Held
    judged: Sequence[tuple[int, Judged]]
    steps: Sequence[AlertStep]
    outcome: str
    again_s: float
    left_out: int = 0
    skipped: int = 0


async def begin_rules(connection: Connection, site: Site, now_s: float) -> None:
    """Has rules that nobody has looked at begin now: they say nothing of what was before them."""
    begun = await _looked_s(connection, [rule.id for rule in site.alerts])
    for rule in site.alerts:
        if rule.id not in begun:
            await connection.execute(SQL["begin_rule"], rule.id, float(rule.grid.floor(now_s - rule.rule.settle_s)))


async def claim(connection: Connection, site: Site) -> Claim | None:
    """Takes a rule that is due; None when there is none."""
    by_id = {rule.id: rule for rule in site.alerts}
    row = await connection.fetchrow(SQL["claim"], list(by_id), LEASE_S)
    return None if row is None else Claim(by_id[row["rule"]], row["looked_s"])


async def look_at(connection: Connection, site: Site, claimed: Claim, now_s: float) -> Found:
    """Decides the steps of a rule that can be decided now. Reads only."""
    rule, looked_s = claimed
    held = before = await _read_held(connection, rule.id)
    settled_s = await read_settled_s(connection, site, rule)
    if settled_s is None:
        return _waiting(claimed, held, now_s, "unknown: nothing was ever counted of what it looks at")
    settled_s = min(settled_s, now_s - rule.rule.settle_s)
    from_s = _caught_up_from_s(rule, looked_s, now_s)
    if from_s > looked_s:
        # Nothing is known of the steps between: what was about to fire has to hold anew.
        held = held._replace(series={one: some for one, some in held.series.items() if some.phase in FIRES})
    until_s, waits_for = await _until_s(connection, site, rule, settled_s)
    steps_max = max(1, min(STEPS_MAX, AREA_STEPS_MAX // len(rule.areas)))
    steps = rule.grid.steps(from_s, until_s, steps_max)
    if not steps:
        why = f"waits for rule {waits_for}" if waits_for else f"unknown after {_shown(settled_s)}: not all has come"
        return _waiting(claimed, before, now_s, why)
    read = await read_samples(connection, site, rule, steps, held.series)
    mutes = await _read_mutes(connection, site, rule, steps[0])
    judged: list[tuple[int, Judged]] = []
    told: list[AlertStep] = []
    left_out = 0
    for step_s in steps:
        await asyncio.sleep(0)
        readings, left_out = readings_at(rule, step_s, read.samples, held) if read.is_whole else ({}, 0)
        looked = look(rule, step_s, readings, held, mutes)
        held = looked.held
        judged += [(step_s, one) for one in looked.judged]
        told += looked.steps
    return Found(
        looked_s=steps[-1],
        before=before,
        after=held,
        judged=judged,
        steps=told,
        outcome=_outcome(judged, steps[-1]) if read.is_whole else "unknown: more events than can be read",
        again_s=_again_s(rule, steps[-1], now_s) if len(steps) < steps_max else 0.0,
        left_out=left_out,
        skipped=_skipped(rule, looked_s, from_s),
    )


async def commit(connection: Connection, site: Site, claimed: Claim, found: Found) -> bool:
    """Holds what a look has come to, and tells it. False, and nothing is changed, where somebody else was faster."""
    rule, looked_s = claimed
    async with connection.transaction():
        moved = await connection.fetchval(
            SQL["advance"], rule.id, float(looked_s), float(found.looked_s), found.again_s, found.outcome
        )
        if moved is None:
            return False
        await _write_series(connection, rule.id, found)
        await _write_firings(connection, rule.id, found)
        for step in found.steps:
            await _tell(connection, rule, step, event_of(site, rule, step))
    _count(rule.id, found)
    return True


async def withdraw_one(connection: Connection, site: Site, version: int) -> bool:
    """Ends what a rule that is gone from the pack still tells. Returns whether there was one.

    `version` is that of the pack: where a newer one is registered, somebody else knows better.
    """
    async with connection.transaction():
        gone = await connection.fetchrow(SQL["read_gone"], [rule.id for rule in site.alerts], version)
        if gone is None:
            return False
        rule, at_s = gone["rule"], gone["looked_s"]
        held = await _read_held(connection, rule)
        for row in await connection.fetch(SQL["read_open_alerts"], rule):
            event = withdrawn_event(_event.decode(row["told"]), at_s, site.header.languages[0])
            await _end(connection, row["id"], at_s, Verdict.RESOLVE_WITHDRAWN, event)
        fired = [one for one, standing in held.series.items() if standing.phase in FIRES]
        await _end_firings(connection, rule, [(one, at_s, Verdict.RESOLVE_WITHDRAWN) for one in fired])
        await _forget_series(connection, rule, [*held.series])
        await connection.execute(SQL["forget_rule"], rule)
    return True


# ── What is read ───────────────────────────────────────────────────────────────────────────────────────────────────


def _waiting(claimed: Claim, held: Held, now_s: float, why: str) -> Found:
    """Nothing can be decided; what was held stays as it is."""
    again_s = _again_s(claimed.rule, claimed.looked_s, now_s)
    return Found(claimed.looked_s, held, held, (), (), why, again_s)


def _again_s(rule: AlertRule, looked_s: int, now_s: float) -> float:
    """After how long to look again: the next step cannot settle before its end, and what the rule waits for then."""
    next_s = rule.grid.next(looked_s) + rule.rule.settle_s - now_s
    return min(max(next_s, AGAIN_S), AGAIN_MAX_S)


def _caught_up_from_s(rule: AlertRule, looked_s: int, now_s: float) -> int:
    """After which step to go on: where it was left, or not too long ago."""
    oldest_s = rule.grid.floor(now_s - CATCH_UP_S)
    return oldest_s if rule.grid.next(looked_s) < oldest_s else looked_s


def _skipped(rule: AlertRule, looked_s: int, from_s: int) -> int:
    """About how many steps lie between."""
    return 0 if from_s <= looked_s else max(1, (from_s - looked_s) // SHORTEST_S[rule.rule.every])


async def _until_s(connection: Connection, site: Site, rule: AlertRule, settled_s: float) -> tuple[float, str | None]:
    """Up to which moment steps can be decided, and which rule it waits for: one that inhibits it comes first."""
    others = inhibitors(site.alerts, rule)
    if not others:
        return settled_s, None
    until_s, waits_for = settled_s, None
    for id_, looked_s in (await _looked_s(connection, [*others])).items():
        # It may still fire at its next step, and at any that comes later.
        next_s = others[id_].grid.next(looked_s)
        if settled_s - INHIBITION_WAIT_S < next_s <= until_s:
            until_s, waits_for = next_s - 1.0, id_
    return until_s, waits_for


async def _looked_s(connection: Connection, rules: Sequence[str]) -> dict[str, int]:
    return {row["rule"]: row["looked_s"] for row in await connection.fetch(SQL["read_looked"], rules)}


async def _read_held(connection: Connection, rule: str) -> Held:
    series = await connection.fetch(SQL["read_series"], rule)
    alerts = await connection.fetch(SQL["read_open_alerts"], rule)
    return Held(
        {Series(AreaId(row["area"]), row["dim"]): _standing.decode(row["body"]) for row in series},
        {row["name"]: _alert.decode(row["body"]) for row in alerts},
    )


async def _read_mutes(connection: Connection, site: Site, rule: AlertRule, from_s: int) -> Mutes:
    silenced = [
        Silenced(_area(site, row["area"]), row["until_s"])
        for row in await connection.fetch(SQL["read_silences"], rule.id, float(from_s))
    ]
    firing: list[Firing] = []
    if rule.rule.inhibited_by:
        rows = await connection.fetch(SQL["read_firings"], rule.rule.inhibited_by, float(from_s))
        firing = [Firing(AreaId(row["area"]), row["start_s"], row["end_s"]) for row in rows]
    return Mutes(site.areas, silenced, firing)


def _area(site: Site, code: str | None) -> AreaId | None:
    """The area that a silence names, by its code on the present list. One that is gone by now mutes nothing."""
    if code is None:
        return None
    found = site.areas.by_code(site.areas.list_id, AreaCode(code))
    return AreaId(code) if found is None else found.id


# ── What is written ────────────────────────────────────────────────────────────────────────────────────────────────


async def _write_series(connection: Connection, rule: str, found: Found) -> None:
    changed = {one: some for one, some in found.after.series.items() if found.before.series.get(one) != some}
    if changed:
        await connection.execute(
            SQL["put_series"],
            rule,
            [one.area for one in changed],
            [one.by for one in changed],
            [some.phase.value for some in changed.values()],
            [msgspec.json.encode(some) for some in changed.values()],
        )
    await _forget_series(connection, rule, [one for one in found.before.series if one not in found.after.series])


async def _forget_series(connection: Connection, rule: str, gone: Sequence[Series]) -> None:
    if gone:
        await connection.execute(SQL["forget_series"], rule, [one.area for one in gone], [one.by for one in gone])


async def _write_firings(connection: Connection, rule: str, found: Found) -> None:
    """When series fired, in the order of the steps: one may begin, end and begin again within a look."""
    for step_s, group in groupby(found.judged, lambda one: one[0]):
        some = [one for _, one in group]
        await _end_firings(connection, rule, [(one.series, step_s, one.verdict) for one in some if one.is_over])
        if begun := [one.series for one in some if one.is_begun]:
            await connection.execute(
                SQL["begin_firings"],
                rule,
                [one.area for one in begun],
                [one.by for one in begun],
                [float(step_s)] * len(begun),
            )


async def _end_firings(connection: Connection, rule: str, ended: Sequence[tuple[Series, int, Verdict]]) -> None:
    if ended:
        await connection.execute(
            SQL["end_firings"],
            rule,
            [one.area for one, _, _ in ended],
            [one.by for one, _, _ in ended],
            [float(at_s) for _, at_s, _ in ended],
            [verdict.value for _, _, verdict in ended],
        )


async def _tell(connection: Connection, rule: AlertRule, step: AlertStep, event: AlertChanged) -> None:
    id_ = subject_of(rule.id, step.alert)
    if step.what == "ended":
        await _end(connection, id_, step.at_s, step.verdict, event)
        return
    await connection.execute(
        SQL["put_alert"],
        id_,
        rule.id,
        step.alert.group,
        step.alert.area,
        rule.rule.severity.value,
        float(step.alert.started_s),
        msgspec.json.encode(step.alert),
        msgspec.json.encode(event),
    )
    await _send(connection, event)


async def _end(connection: Connection, id_: str, at_s: int, why: Verdict, event: AlertChanged) -> None:
    await connection.execute(SQL["end_alert"], id_, float(at_s), why.value, msgspec.json.encode(event))
    await _send(connection, event)


async def _send(connection: Connection, event: AlertChanged) -> None:
    await put_on_log(connection, [outgoing(event)._replace(id=f"alert:{event.id}")])


# ── What is said of it ─────────────────────────────────────────────────────────────────────────────────────────────


def _outcome(judged: Sequence[tuple[int, Judged]], step_s: int) -> str:
    """What came of the series at the last step."""
    counts = Counter(one.verdict.value for at_s, one in judged if at_s == step_s)
    return ", ".join(f"{verdict} {n}" for verdict, n in sorted(counts.items())) or "no series"


def _count(rule: str, found: Found) -> None:
    for verdict, n in Counter(one.verdict.value for _, one in found.judged).items():
        metrics.VERDICTS.labels(verdict).inc(n)
    for step in found.steps:
        metrics.CHANGES.labels(step.what).inc()
    metrics.LEFT_OUT.labels(rule).set(found.left_out)
    metrics.SKIPPED.inc(found.skipped)


def _shown(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
