"""Does an alert open a case, keep it up to date, and resolve it?"""

from datetime import UTC, datetime

import msgspec

from schemas.case import Case
from schemas.command import Actor, Command, Silence
from schemas.event import CaseCommand
from schemas.site import parse_site
from streams.versions import Version, compiled
from tests.alerts.hall import BEGIN_S, CASES, MINUTE_S, Hall, metric, rule
from tests.alerts.rules import ABOVE_5
from tests.streams.world import PACK

KINDS = """
other = "other"
[[category]]
id = "other"
names = { en = "Other" }
[[category]]
id = "it"
names = { en = "Alert of a service" }
kind = "alert"
"""


def version_of(rules: str) -> Version:
    """The tests' site with these rules, and cases."""
    return compiled(0, parse_site({**PACK, "alerts.toml": rules, "cases.toml": KINDS}))


async def relay(hall: Hall, version: Version) -> None:
    """Puts on the log what waits for it of alerts, and counts it."""
    rows = await hall.connection.fetch(
        "DELETE FROM outbox WHERE channel = 'kafka' AND id LIKE 'alert:%' RETURNING body"
    )
    bodies = sorted((row["body"] for row in rows), key=lambda body: msgspec.json.decode(body)["time"])
    await hall.count(version, bodies, BEGIN_S, CASES)


async def cases(hall: Hall) -> list[Case]:
    """All cases, as they stand."""
    rows = await hall.connection.fetch("SELECT body FROM cases ORDER BY opened_at")
    return [msgspec.json.decode(row["body"], type=Case) for row in rows]


async def test_an_alert_is_a_case_until_it_is_over(hall: Hall) -> None:
    version = version_of(rule(ABOVE_5, 'severity = "critical"', 'group_by = ["area"]'))
    await hall.begin(version)
    some = [metric(BEGIN_S + 30, 6.0), metric(BEGIN_S + 90, 6.0, service="mail"), metric(BEGIN_S + 95, 6.0)]
    await hall.count(version, some, BEGIN_S + 2 * MINUTE_S)
    await hall.look(version, BEGIN_S + 2 * MINUTE_S)
    assert await hall.changes() == [("slow", "firing", 1), ("slow", "firing", 2)]
    await relay(hall, version)
    (case,) = await cases(hall)
    assert (case.kind, case.category, case.severity, case.area, case.is_open) == (
        "alert",
        "it",
        "critical",
        "00",
        True,
    )
    over = [metric(BEGIN_S + 150, 1.0), metric(BEGIN_S + 155, 1.0, service="mail")]
    await hall.count(version, over, BEGIN_S + 3 * MINUTE_S)
    await hall.look(version, BEGIN_S + 3 * MINUTE_S)
    await relay(hall, version)
    (after,) = await cases(hall)
    assert (after.id, after.state) == (case.id, "resolved")
    # The next time it is another one.
    await hall.count(version, [metric(BEGIN_S + 210, 6.0)], BEGIN_S + 4 * MINUTE_S)
    await hall.look(version, BEGIN_S + 4 * MINUTE_S)
    await relay(hall, version)
    first, second = await cases(hall)
    assert (first.id, second.is_open) == (case.id, True)


async def test_a_silence_that_is_commanded_is_kept(hall: Hall) -> None:
    version = version_of(rule(ABOVE_5))
    await hall.begin(version)
    command = CaseCommand(
        specversion="1.0",
        id="1",
        source="person:lan",
        subject="alert:slow",
        time=datetime(2025, 6, 23, tzinfo=UTC),
        received_at=datetime(2025, 6, 23, tzinfo=UTC),
        data=Command(
            do=Silence(until=datetime.fromtimestamp(BEGIN_S + 2 * MINUTE_S, UTC), reason="Maintenance"),
            actor=Actor(id="lan", roles=("operator",), sees_all=True, areas=("00",)),
        ),
    )
    await hall.count(version, [msgspec.json.encode(command)], BEGIN_S, CASES)
    await hall.count(version, [metric(BEGIN_S + 30, 6.0), metric(BEGIN_S + 90, 6.0)], BEGIN_S + 2 * MINUTE_S)
    await hall.look(version, BEGIN_S + MINUTE_S)
    assert await hall.changes() == []
    await hall.look(version, BEGIN_S + 2 * MINUTE_S)
    assert await hall.changes() == [("slow", "firing", 2)]
