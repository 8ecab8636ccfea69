"""Is what a rule finds held and told once, whoever looks, and says it nothing where nothing is known?"""

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from schemas.command import Actor, Command, Silence
from schemas.event import AlertChanged, CaseCommand
from schemas.topics import case_of
from streams.alerts import look as looking
from streams.alerts.look import CATCH_UP_S, claim, commit, look_at
from streams.alerts.silence import apply_silence
from streams.core.alert import readings_at
from streams.store import sites
from streams.versions import Version
from tests.alerts.hall import BEGIN_S, CASES, MINUTE_S, Hall, metric, report, rule, version_of
from tests.alerts.rules import ABOVE_5, MANY
from tests.streams.world import PACK


def measured(*values: float | None, service: str = "web", area: str = "0101", first: int = 0) -> list[bytes]:
    """One value in each minute from the first on; None: nothing was measured."""
    return [
        metric(BEGIN_S + MINUTE_S * (first + at) + 30, value, service=service, area=area)
        for at, value in enumerate(values)
        if value is not None
    ]


async def test_what_goes_beyond_and_comes_back_is_told_once_each(hall: Hall) -> None:
    version = version_of(rule(ABOVE_5))
    await hall.begin(version)
    await hall.count(version, measured(1, 6, 6, 4.5, 3, 3), BEGIN_S + 6 * MINUTE_S)
    await hall.look(version, BEGIN_S + 6 * MINUTE_S)
    assert await hall.changes() == [("slow", "firing", 2), ("slow", "resolved", 5)]
    await hall.look(version, BEGIN_S + 6 * MINUTE_S)
    assert len(await hall.told()) == 2
    first = (await hall.told())[0]
    assert (first.source, first.subject, first.area) == ("ioc.alerts", "slow/00/web/20250623T000200Z", "00")
    row = await hall.connection.fetchrow("SELECT id, channel, target FROM outbox ORDER BY made_at LIMIT 1")
    assert tuple(row or ()) == (f"alert:{first.id}", "kafka", f"cases.v1/{case_of(first)}")
    alert = await hall.connection.fetchrow("SELECT rule, ended_at - started_at AS took, reason FROM alert")
    assert alert is not None
    assert (alert["rule"], alert["took"].total_seconds(), alert["reason"]) == ("slow", 180, "resolve")


@pytest.mark.parametrize("cuts", [[1] * 8, [8], [3, 5], [7, 1]], ids=str)
async def test_however_steps_are_cut_the_same_is_told(hall: Hall, cuts: list[int]) -> None:
    version = version_of(rule(ABOVE_5, "hold_s = 60", "clear_s = 60"))
    await hall.begin(version)
    values, at = [6.0, 6.0, 3.0, 6.0, 6.0, 3.0, 3.0, 3.0], 0
    for cut in cuts:
        await hall.count(version, measured(*values[at : at + cut], first=at), BEGIN_S + (at + cut) * MINUTE_S)
        at += cut
        await hall.look(version, BEGIN_S + at * MINUTE_S)
    assert await hall.changes() == [("slow", "firing", 2), ("slow", "resolved", 7)]


async def test_what_has_not_all_come_is_unknown(hall: Hall) -> None:
    version = version_of(rule(ABOVE_5))
    await hall.begin(version)
    (found,) = await hall.look(version, BEGIN_S + 10 * MINUTE_S)
    assert found.outcome == "unknown: nothing was ever counted of what it looks at"
    await hall.count(version, measured(6, 6, 6), BEGIN_S + MINUTE_S + 30)
    found = (await hall.look(version, BEGIN_S + 10 * MINUTE_S))[-1]
    assert found.looked_s == BEGIN_S + MINUTE_S
    assert await hall.changes() == [("slow", "firing", 1)]
    (found,) = await hall.look(version, BEGIN_S + 20 * MINUTE_S)
    assert found.outcome == "unknown after 2025-06-23T00:01:30Z: not all has come"
    assert await hall.changes() == [("slow", "firing", 1)]


async def test_silence_of_a_source_is_known_when_the_others_have_come(hall: Hall) -> None:
    version = version_of(rule("absence = { lookback_days = 2 }", "hold_s = 60"))
    await hall.begin(version)
    await hall.count(version, measured(1, 1, None, None, None, 1), BEGIN_S + 6 * MINUTE_S)
    await hall.look(version, BEGIN_S + 6 * MINUTE_S)
    # Silent in the third, fourth and fifth minute.
    assert await hall.changes() == [("slow", "firing", 4), ("slow", "resolved", 6)]


async def test_what_stays_silent_is_forgotten(hall: Hall) -> None:
    version = version_of(rule("absence = { lookback_days = 1 }").replace('"minute"', '"hour"'))
    await hall.begin(version)
    await hall.count(version, measured(1), BEGIN_S + 4 * 86_400)
    for hours in range(0, 96, 5):
        await hall.look(version, BEGIN_S + hours * 3600)
    firing, resolved = await hall.told()
    assert (firing.data.state, resolved.data.state) == ("firing", "resolved")
    # It was heard of on the 23rd in Hanoi. On the 24th it is still expected, and from 17:00 UTC no more.
    assert resolved.time == datetime(2025, 6, 24, 17, tzinfo=UTC)
    assert resolved.data.text == "Nothing is expected of it any more."


async def test_of_two_who_have_looked_one_is_heard(hall: Hall) -> None:
    version = version_of(rule(ABOVE_5))
    await hall.begin(version)
    await hall.count(version, measured(6), BEGIN_S + MINUTE_S)
    claimed = await claim(hall.connection, version.site)
    assert claimed is not None
    # It is held by the first one's lease.
    assert await claim(hall.connection, version.site) is None
    found = await look_at(hall.connection, version.site, claimed, BEGIN_S + MINUTE_S)
    # The lease runs out while the first one still looks.
    await hall.connection.execute("UPDATE alert_rule SET leased_until = now() - interval '1 second'")
    other = await claim(hall.connection, version.site)
    assert other == claimed
    assert await commit(hall.connection, version.site, claimed, found)
    before = await hall.state()
    assert not await commit(hall.connection, version.site, claimed, found)
    assert await hall.state() == before
    assert await hall.changes() == [("slow", "firing", 1)]


async def test_several_workers_share_the_rules(hall: Hall) -> None:
    rules = "".join(rule(ABOVE_5, id_=f"slow{number}") for number in range(6))
    version = version_of(rules)
    await hall.begin(version)
    await hall.count(version, measured(6, 3, 6, 6, 3), BEGIN_S + 5 * MINUTE_S)
    looks: list[int] = []

    async def work() -> None:
        connection = await asyncpg.connect(hall.url)
        try:
            while (claimed := await claim(connection, version.site)) is not None:
                found = await look_at(connection, version.site, claimed, BEGIN_S + 5 * MINUTE_S)
                looks.append(await commit(connection, version.site, claimed, found))
        finally:
            await connection.close()

    await asyncio.gather(*(work() for _ in range(4)))
    assert looks == [True] * 6
    assert len(await hall.told()) == 6 * 4


async def test_what_dies_before_its_end_has_done_nothing(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    version = version_of(rule(ABOVE_5))
    await hall.begin(version)
    await hall.count(version, measured(6, 6), BEGIN_S + 2 * MINUTE_S)
    before = await hall.state()

    async def fails(*_: object) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(looking, "_send", fails)
    with pytest.raises(ConnectionResetError):
        await hall.look(version, BEGIN_S + 2 * MINUTE_S)
    assert await hall.state() == before
    monkeypatch.undo()
    await hall.look(version, BEGIN_S + 2 * MINUTE_S)
    assert await hall.changes() == [("slow", "firing", 1)]


def silence(until_s: float, *, area: str | None = None, id_: str = "1", of: str = "slow") -> CaseCommand:
    """A command as it comes off the log."""
    return CaseCommand(
        specversion="1.0",
        id=id_,
        source="person:lan",
        subject=f"alert:{of}",
        time=datetime.fromtimestamp(BEGIN_S, UTC),
        data=Command(
            do=Silence(until=datetime.fromtimestamp(until_s, UTC), area=area, reason="Maintenance"),
            actor=Actor(id="lan", roles=("operator",)),
        ),
    )


async def test_silences_end(hall: Hall) -> None:
    version = version_of(rule(ABOVE_5))
    await hall.begin(version)
    assert await apply_silence(hall.connection, silence(BEGIN_S + 3 * MINUTE_S))
    assert not await apply_silence(hall.connection, silence(BEGIN_S + 9 * MINUTE_S))
    assert await apply_silence(hall.connection, silence(BEGIN_S + 99 * MINUTE_S, id_="2", of="other"))
    await hall.count(version, measured(6, 6, 6, 6), BEGIN_S + 4 * MINUTE_S)
    (found, *_) = await hall.look(version, BEGIN_S + 2 * MINUTE_S)
    assert found.outcome == "mute_silenced 1"
    await hall.look(version, BEGIN_S + 4 * MINUTE_S)
    assert await hall.changes() == [("slow", "firing", 3)]


async def test_silence_of_one_area(hall: Hall) -> None:
    version = version_of(rule(ABOVE_5, 'area = "01"', 'levels = ["commune"]'))
    await hall.begin(version)
    await apply_silence(hall.connection, silence(BEGIN_S + 99 * MINUTE_S, area="0101"))
    both = [*measured(6), *measured(6, area="0102")]
    await hall.count(version, both, BEGIN_S + MINUTE_S)
    await hall.look(version, BEGIN_S + MINUTE_S)
    assert [one.area for one in await hall.told()] == ["0102"]


BOTH = rule("threshold = { above = 5 }", 'inhibited_by = ["down"]', 'area = "01"', 'levels = ["commune"]') + rule(
    "absence = {}", 'area = "01"', id_="down", subject='event = "ioc.feedback.received.v1"'
)


async def reports(hall: Hall, version: Version, minutes: Sequence[int], until: int) -> None:
    """Reports in these minutes, in which the other rule is quiet."""
    some = [report(BEGIN_S + at * MINUTE_S) for at in minutes]
    await hall.count(version, some, BEGIN_S + until * MINUTE_S, CASES)


async def test_a_rule_keeps_silent_while_another_fires_above_it(hall: Hall) -> None:
    version = version_of(BOTH)
    await hall.begin(version)
    await reports(hall, version, [0, 3, 4], 5)
    await hall.count(version, measured(3, 6, 6, 6, 6), BEGIN_S + 5 * MINUTE_S)
    await hall.look(version, BEGIN_S + 5 * MINUTE_S)
    # Nothing was reported in the minutes that end at 2 and 3, so `slow` is heard at 4.
    changes = await hall.changes()
    assert [one for one in changes if one[0] == "down"] == [("down", "firing", 2), ("down", "resolved", 4)]
    assert [one for one in changes if one[0] == "slow"] == [("slow", "firing", 4)]


async def test_a_rule_waits_for_the_one_that_inhibits_it(hall: Hall) -> None:
    version = version_of(BOTH)
    await hall.begin(version)
    await hall.count(version, measured(3, 6, 6), BEGIN_S + 3 * MINUTE_S)
    await reports(hall, version, [], 1)
    await hall.look(version, BEGIN_S + 3 * MINUTE_S)
    found = await hall.look(version, BEGIN_S + 3 * MINUTE_S)
    assert {one.outcome for one in found if one.outcome.startswith("waits")} == {"waits for rule down"}
    assert [one for one in await hall.changes() if one[0] == "slow"] == []
    # It does not wait for ever.
    await hall.count(version, [], BEGIN_S + 30 * MINUTE_S)
    await hall.look(version, BEGIN_S + 30 * MINUTE_S)
    assert [one for one in await hall.changes() if one[0] == "slow"] != []


async def test_a_rule_that_is_gone_ends_what_it_told(hall: Hall) -> None:
    version = version_of(rule(ABOVE_5))
    number = await sites.register_site(hall.connection, {**PACK, "alerts.toml": rule(ABOVE_5)})
    await hall.begin(version)
    await hall.count(version, measured(6), BEGIN_S + MINUTE_S)
    await hall.look(version, BEGIN_S + MINUTE_S)
    # Who still has an older pack changes nothing.
    await hall.tend(version_of("", number - 1), BEGIN_S + 2 * MINUTE_S)
    assert len(await hall.told()) == 1
    await hall.tend(version_of("", number), BEGIN_S + 2 * MINUTE_S)
    firing, resolved = await hall.told()
    assert (resolved.subject, resolved.data.state) == (firing.subject, "resolved")
    assert resolved.data.text == "The rule has been taken out."
    state = await hall.state()
    assert (state["alert_rule"], state["alert_series"]) == ([], [])


async def test_a_new_rule_says_nothing_of_what_was_before(hall: Hall) -> None:
    version = version_of(rule(ABOVE_5))
    await hall.count(version, measured(6, 6, 3, 3, 6), BEGIN_S + 5 * MINUTE_S)
    await hall.tend(version, BEGIN_S + 3 * MINUTE_S)
    await hall.look(version, BEGIN_S + 5 * MINUTE_S)
    assert await hall.changes() == [("slow", "firing", 5)]


async def test_after_a_long_outage_what_is_too_old_is_skipped(hall: Hall) -> None:
    version = version_of(rule(ABOVE_5, "hold_s = 300"))
    await hall.begin(version)
    await hall.count(version, measured(6, 6, 6), BEGIN_S + 3 * MINUTE_S)
    await hall.look(version, BEGIN_S + 3 * MINUTE_S)
    now_s = BEGIN_S + 48 * 3600
    late = int((now_s - CATCH_UP_S - BEGIN_S) // MINUTE_S)
    await hall.count(version, measured(6, 6, 6, 6, 6, first=late), now_s)
    found = await hall.look(version, now_s)
    assert found[0].skipped > 2000
    assert sum(one.skipped for one in found[1:]) == 0
    assert found[-1].looked_s == now_s
    # Five values are not enough: the hold has begun anew.
    assert await hall.told() == []


async def test_series_beyond_the_bound_are_said_to_be_left_out(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "readings_at", partial(readings_at, series_max=2))
    version = version_of(rule(ABOVE_5))
    await hall.begin(version)
    services = [measured(6, service=name)[0] for name in ("a", "b", "c")]
    await hall.count(version, services, BEGIN_S + MINUTE_S)
    (found,) = [one for one in await hall.look(version, BEGIN_S + MINUTE_S) if one.judged]
    assert found.left_out == 1
    assert [one.subject for one in await hall.told()] == [
        "slow/00/a/20250623T000100Z",
        "slow/00/b/20250623T000100Z",
    ]


async def test_what_is_told_can_be_read_off_the_log(hall: Hall) -> None:
    version = version_of(rule(ABOVE_5))
    await hall.begin(version)
    await hall.count(version, measured(6), BEGIN_S + MINUTE_S)
    await hall.look(version, BEGIN_S + MINUTE_S)
    body = await hall.connection.fetchval("SELECT body FROM outbox")
    # It is an event like every other: it is kept, located and counted.
    await hall.count(version, [body], BEGIN_S + MINUTE_S, CASES)
    kept = await hall.connection.fetchrow("SELECT type, area, subject FROM event")
    (told,) = await hall.told()
    assert isinstance(told, AlertChanged)
    assert tuple(kept or ()) == ("ioc.alert.changed.v1", "00", told.subject)


async def a_random_history(hall: Hall, version: Version, rng: random.Random, minutes: int) -> None:
    """Measurements and reports, all of which have come."""
    moments = rng.sample(range(minutes * MINUTE_S), 110)
    values = [metric(BEGIN_S + at, rng.randrange(12), service=rng.choice("abc")) for at in moments[:70]]
    some = [report(BEGIN_S + at, category=rng.choice(["road", "waste"])) for at in moments[70:]]
    await hall.count(version, values, BEGIN_S + minutes * MINUTE_S)
    await hall.count(version, some, BEGIN_S + minutes * MINUTE_S, CASES)


async def forget(hall: Hall) -> None:
    """Lets all rules begin anew."""
    await hall.connection.execute("TRUNCATE alert_rule, alert_series, alert_firing, alert, outbox")


async def test_random_histories_say_the_same_in_any_cut(hall: Hall) -> None:
    version, minutes = version_of(MANY), 40
    await a_random_history(hall, version, random.Random(4), minutes)
    told: list[dict[str, Any]] = []
    for cut in (1, 7, 40):
        await hall.begin(version)
        for until in range(cut, minutes + cut, cut):
            await hall.look(version, BEGIN_S + min(until, minutes) * MINUTE_S)
        told.append(await hall.state())
        await forget(hall)
    assert told[0] == told[1] == told[2]
    assert {row[1] for row in told[0]["alert"]} == {"slow", "few", "few-events", "silent", "change", "odd"}


async def test_killed_workers_neither_lose_nor_double_an_alert(hall: Hall) -> None:
    version, minutes = version_of(MANY), 60
    now_s = BEGIN_S + minutes * MINUTE_S
    await a_random_history(hall, version, random.Random(5), minutes)
    await hall.begin(version)
    await hall.look(version, now_s)
    expected = await hall.state()
    await forget(hall)
    await hall.begin(version)
    killed = 0
    while not await is_done(hall, now_s):
        workers = [start_worker(hall, now_s) for _ in range(2)]
        # They are killed at a moment of their own; one that finds nothing to do ends by itself.
        codes = await asyncio.gather(*(asyncio.to_thread(worker.wait) for worker in workers))
        killed += sum(code < 0 for code in codes)
        assert all(code in (0, -signal.SIGKILL) for code in codes)
    assert killed > 3
    assert await hall.state() == expected


async def is_done(hall: Hall, now_s: int) -> bool:
    """Whether all rules have been looked at up to a moment."""
    query = "SELECT min(looked_until) >= to_timestamp($1) FROM alert_rule"
    return bool(await hall.connection.fetchval(query, float(now_s)))


def start_worker(hall: Hall, now_s: int) -> "subprocess.Popen[bytes]":
    """A process that looks at the rules, and is killed in the middle of something."""
    command = [sys.executable, "-m", "tests.alerts.looking_process", hall.url, str(now_s)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2])


async def test_a_rule_is_due_again_when_its_next_step_can_have_settled(hall: Hall) -> None:
    hourly = rule(ABOVE_5).replace('"minute"', '"hour"')
    version = version_of(rule(ABOVE_5, id_="soon") + hourly)
    await hall.begin(version)
    await hall.count(version, [], BEGIN_S)
    assert {one.again_s for one in await hall.look(version, BEGIN_S + 30)} == {30.0, looking.AGAIN_MAX_S}


async def test_a_look_at_many_areas_decides_fewer_steps(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "AREA_STEPS_MAX", 6)
    version = version_of(rule(ABOVE_5, 'area = "01"', 'levels = ["commune"]', subject='kpi = "response"'))
    await hall.begin(version)
    await hall.count(version, measured(6, 6, 3, 3), BEGIN_S + 4 * MINUTE_S)
    found = await hall.look(version, BEGIN_S + 4 * MINUTE_S)
    assert [(one.looked_s - BEGIN_S) // MINUTE_S for one in found] == [3, 4]
    assert [one.again_s == 0 for one in found] == [True, False]
    assert await hall.changes() == [("slow", "firing", 1), ("slow", "resolved", 3)]
