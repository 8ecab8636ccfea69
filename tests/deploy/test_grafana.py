"""Do the Grafana dashboards ask for what the database has, as a role that can read nothing else?

There is no Grafana here. What it does to a query before sending it is documented (PostgreSQL data source, macros;
variable syntax), and done here in the same way.
"""

import json
import re
import secrets
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from prometheus_client import REGISTRY

from dashboard_api import metrics as dashboard_metrics
from deploy.migrate import migrate_schema, register
from ingest.gateway import metrics as ingest_metrics
from schemas.case import Clock, ClockName, Kind, Severity, State
from streams import metrics as streams_metrics
from tests.dashboard.case_centre import PACK as CASE_PACK
from tests.dashboard.case_rows import case, put_cases, tell
from tests.dashboard.test_drill import happened
from tests.dashboard.worker import count

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / "dashboards").glob("*.json"))}
DATABASE, METRICS = "ioc-database", "ioc-metrics"

NOW = datetime.now(UTC).replace(microsecond=0)
SINCE, UNTIL = NOW - timedelta(days=2), NOW + timedelta(hours=1)
HOUR = timedelta(hours=1)

SUPERVISED = """
[[kpi]]
id = "conduct_received"
names = { vi = "Phản ánh về cán bộ", en = "Complaints about officials" }
unit = "1"
event = "ioc.feedback.received.v1"
measure = "count"
audience = "supervision"

[[kpi]]
id = "conduct_share"
names = { vi = "Tỷ lệ", en = "Share" }
unit = "1"
measure = "ratio"
numerator = "conduct_received"
denominator = "feedback_received"
"""
PACK = {**CASE_PACK, "kpis.toml": CASE_PACK["kpis.toml"] + SUPERVISED}

CHOICES: Mapping[str, Sequence[str]] = {
    "language": ["vi"],
    "kpi": ["closed_in_time"],
    "area": ["00"],
    "step": ["hours"],
    "agency": ["", "works", "police"],
    "unit": ["1"],
}
"""What somebody has chosen on a dashboard."""


def interpolated(text: str, choices: Mapping[str, Sequence[str]] = CHOICES) -> str:
    """The SQL that Grafana sends for this text."""

    def variable(found: re.Match[str]) -> str:
        values = choices[found["name"]]
        match found["format"]:
            case "sqlstring":
                return ",".join("'" + value.replace("'", "''") + "'" for value in values)
            case "raw" | "text":
                return ",".join(values)
            case other:
                raise AssertionError(f"the test does not know the format {other}")

    def span(found: re.Match[str]) -> str:
        return f"{found[1]} BETWEEN '{SINCE:%Y-%m-%dT%H:%M:%SZ}' AND '{UNTIL:%Y-%m-%dT%H:%M:%SZ}'"

    # With a data source whose `timescaledb` is set.
    def group(found: re.Match[str]) -> str:
        return f"time_bucket('600.000s',{found[1]}) AS \"time\""

    text = re.sub(r"\$__timeGroupAlias\(([\w.]+), \$__interval\)", group, text)
    text = re.sub(r"\$__timeFilter\(([\w.]+)\)", span, text)
    text = text.replace("$__timeFrom()", f"'{SINCE:%Y-%m-%dT%H:%M:%SZ}'")
    text = re.sub(r"\$\{(?P<name>\w+):(?P<format>\w+)\}", variable, text)
    assert "$" not in text, f"what Grafana would put in its place is not known: {text}"
    return text


def queries() -> list[tuple[str, str]]:
    """Every SQL text: of panels, and of variables."""
    found: list[tuple[str, str]] = []
    for name, board in BOARDS.items():
        for panel in board["panels"]:
            found += [
                (f"{name} {panel['id']}{target['refId']}", target["rawSql"])
                for target in panel.get("targets", [])
                if "rawSql" in target
            ]
        found += [
            (f"{name} ${one['name']}", one["query"]) for one in board["templating"]["list"] if one["type"] == "query"
        ]
    return found


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator["tuple[asyncpg.Connection[Any], asyncpg.Connection[Any]]"]:
    """A database in which something has happened: as the role of Grafana, and as the owner."""
    await migrate_schema(database_url)
    await register(database_url, PACK)
    owner = await asyncpg.connect(database_url)
    # Roles belong to the whole cluster, which other tests use, too.
    role, password = f"grafana_{uuid.uuid4().hex[:8]}", secrets.token_hex(8)
    await owner.execute((FOLDER / "role.sql").read_text().replace("ioc_grafana", role))
    await owner.execute((FOLDER / "role.sql").read_text().replace("ioc_grafana", role))
    await owner.execute(f"ALTER ROLE {role} PASSWORD '{password}'")
    parts = urlsplit(database_url)
    address = urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.hostname}:{parts.port}"))
    connection = await asyncpg.connect(address)
    try:
        yield connection, owner
    finally:
        await connection.close()
        await owner.execute(f"DROP OWNED BY {role}")
        await owner.execute(f"DROP ROLE {role}")
        await owner.close()


async def fill(database_url: str, owner: Any) -> None:
    """Reports, of which one is a drill and one about an official; cases of every kind; and what goes out."""
    about = {"envelope": {"arealist": "test-2025"}}
    drill = {"envelope": {"arealist": "test-2025", "exercise": True}}
    times = {"opened_at": (NOW - 9 * HOUR).isoformat(), "agency": "works", "category": "road", "result": "done"}
    early, late = ({"due_at": (NOW + hours * HOUR).isoformat(), **times} for hours in (5, -5))
    await count(
        database_url,
        PACK,
        [
            *(happened("feedback.received", f"r{n}", NOW - HOUR, "01", category="road", **about) for n in range(3)),
            happened("feedback.received", "drill", NOW - HOUR, "01", category="road", **drill),
            happened(
                "feedback.received", "bad", NOW - HOUR, "01", category="conduct", accused_agency="works", **about
            ),
            *(happened("feedback.closed", f"c{n}", NOW - HOUR, "01", **early, **about) for n in range(3)),
            happened("feedback.closed", "late", NOW - HOUR, "02", **late, **about),
        ],
    )
    clock = Clock(
        name=ClockName.RESOLUTION,
        calendar="always",
        allowed_s=3600,
        started_at=NOW - 5 * HOUR,
        due_at=NOW - 4 * HOUR,
        breached_at=NOW - 4 * HOUR,
    )
    opened: dict[str, Any] = {"opened_at": NOW - 5 * HOUR, "changed_at": NOW, "agency": "works"}
    over: dict[str, Any] = {"state": State.CLOSED, "closed_at": NOW - HOUR, "resolved_at": NOW - HOUR}
    await put_cases(
        owner,
        case("late", clocks=(clock,), severity=Severity.MAJOR, title="Words of somebody", **opened),
        case("done", answered_at=NOW - 3 * HOUR, **opened, **over),
        case("nobody's", **(opened | {"agency": None})),
        case("merged", state=State.MERGED, **opened),
        case("drill", exercise=True, clocks=(clock,), **opened),
        case("accused", kind=Kind.CONDUCT, category="conduct", accused_agency="police", clocks=(clock,), **opened),
    )
    await tell(owner, ["late"])
    await owner.execute(
        """INSERT INTO outbox (id, channel, target, content_type, body, sent_at) VALUES
            ('1', 'mail', 'somebody@example.org', 'text/plain', 'words', NULL),
            ('2', 'sms', '+84900000000', 'text/plain', 'words', now());
        INSERT INTO redriven (partition, "offset") VALUES (0, 1);
        UPDATE position SET caught_up_at = now();
        INSERT INTO worker (id, state, started_at, beat_at) VALUES ('here/0', 'counting', now(), now())"""
    )


async def test_every_query_finds_something(
    database_url: str, reader: "tuple[asyncpg.Connection[Any], asyncpg.Connection[Any]]"
) -> None:
    grafana, owner = reader
    await fill(database_url, owner)
    answers: dict[str, list[dict[str, Any]]] = {}
    for name, text in queries():
        answers[name] = [dict(row) for row in await grafana.fetch(interpolated(text))]
        assert answers[name], name
        assert any(value is not None for row in answers[name] for value in row.values()), name
    for name, board in BOARDS.items():
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                if target.get("format") == "time_series":
                    row = answers[f"{name} {panel['id']}{target['refId']}"][0]
                    assert isinstance(row["time"], datetime)
                    assert isinstance(row.get("metric", ""), str)

    def titled(board: str, words: str) -> list[dict[str, Any]]:
        panel = next(one for one in BOARDS[board]["panels"] if words in one["title"])
        return answers[f"{board} {panel['id']}A"]

    # Three of four in time, over all areas.
    (span,) = titled("indicators", "The whole span")
    assert (span["area"], span["value"], span["numerator"], span["denominator"]) == ("Tỉnh thử", 0.75, 3, 4)
    received = interpolated(
        next(text for name, text in queries() if name == "indicators 2A"),
        {**CHOICES, "kpi": ["feedback_received"], "area": ["01", "02"], "step": ["days"]},
    )
    # Neither the drill nor the complaint about an official.
    assert [(row["area"], row["value"]) for row in await grafana.fetch(received)] == [("Phường Một", 3)]
    offered = [row["__value"] for row in answers["indicators $kpi"]]
    assert offered[:3] == ["feedback_received", "feedback_closed", "closed_in_time"]
    assert {"closed_within_day", "response_mean", "response_sum", "closed_share", "channel_share"} <= set(offered)
    assert not {"conduct_received", "conduct_share", "load", "cameras_active", "in_handling"} & set(offered)

    # Each report has opened one. Neither what was merged, nor a drill, nor complaints about officials.
    assert titled("cases", "Đang mở / Open") == [{"open": 2 + 3}]
    assert [(row["id"], row["area"]) for row in titled("cases", "Overdue the longest")] == [("late", "Phường Một")]
    assert [(row["metric"], row["missed"]) for row in titled("cases", "Deadlines missed")] == [("resolution", 1)]
    assert titled("cases", "Time to answer") == [{"seconds": 7200}]
    assert [(row["agency"], row["open"], row["closed"]) for row in titled("cases", "By agency")] == [
        ("works", 1, 1),
        ("", 1 + 3, 0),
    ]
    waiting = {row["channel"]: row["waiting"] for row in titled("health", "Messages to be sent")}
    assert (waiting["mail"], waiting["sms"]) == (1, 0)


async def test_the_role_reads_the_views_and_nothing_else(
    database_url: str, reader: "tuple[asyncpg.Connection[Any], asyncpg.Connection[Any]]"
) -> None:
    grafana, owner = reader
    await fill(database_url, owner)
    readable = await grafana.fetch(
        """SELECT n.nspname AS schema, c.relname AS name FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f', 'S') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
            AND has_schema_privilege(n.oid, 'USAGE')
            AND (CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT, USAGE, UPDATE')
                ELSE has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE')
                    OR has_table_privilege(c.oid, 'DELETE, TRUNCATE') END)
            -- What the extension says of itself is for everybody.
            AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')"""
    )
    assert {row["schema"] for row in readable} == {"grafana"}
    assert len(readable) == len(await owner.fetch("SELECT FROM pg_views WHERE schemaname = 'grafana'"))
    assert await grafana.fetchval("SHOW default_transaction_read_only") == "on"
    # Whoever types SQL into a panel may switch that off.
    await grafana.execute("SET default_transaction_read_only = off")
    for statement in (
        "SELECT * FROM public.cases",
        "SELECT * FROM public.kpi_day",
        "SELECT * FROM public.person_key",
        "CREATE TABLE public.mine ()",
        "CREATE VIEW grafana.mine AS SELECT 1",
        "UPDATE grafana.timers SET outcome = 'x'",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await grafana.execute(statement)

    # Nothing of what can be read holds a word that somebody wrote, a name, or who is told.
    for row in readable:
        held = await grafana.fetchval(f"SELECT json_agg(v)::text FROM grafana.{row['name']} AS v")
        for words in ("Words of somebody", "somebody@example.org", "+84900000000", "accused", "conduct", "drill"):
            assert words not in (held or ""), row["name"]


def test_dashboards_are_as_grafana_documents_them() -> None:
    assert list(BOARDS) == ["cases", "health", "indicators"]
    assert len({board["uid"] for board in BOARDS.values()}) == 3
    sources = set(re.findall(r"^    uid: (\S+)$", (FOLDER / "provisioning/datasources/ioc.yaml").read_text(), re.M))
    assert sources == {DATABASE, METRICS}
    for board in BOARDS.values():
        # Dashboard JSON model, and what the version 39 of the schema (Grafana 10.4 and later) adds.
        assert {
            "id",
            "uid",
            "title",
            "tags",
            "timezone",
            "editable",
            "graphTooltip",
            "panels",
            "time",
            "timepicker",
        } | {*("templating", "annotations", "refresh", "schemaVersion", "version", "links")} <= set(board)
        assert (board["id"], board["schemaVersion"]) == (None, 39)
        panels = board["panels"]
        assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= 24
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not taken & cells, panel["title"]
            taken |= cells
            # Vietnamese first, English second; what a variable says is in the language that was chosen.
            assert " / " in panel["title"] or "${" in panel["title"]
            for target in panel.get("targets", []):
                assert target["datasource"]["uid"] == panel["datasource"]["uid"]
                assert target["datasource"]["uid"] in sources
        named = set(re.findall(r"\$\{(\w+):", json.dumps(board)))
        assert named <= {one["name"] for one in board["templating"]["list"]}


def test_the_metrics_that_it_asks_prometheus_for_are_there() -> None:
    # Whoever imports these modules registers what they count.
    assert all((dashboard_metrics.CLIENTS, ingest_metrics.PENDING_BYTES, streams_metrics.BUSY_S))
    known = {
        name
        for metric in REGISTRY.collect()
        for name in (metric.name, f"{metric.name}_total", f"{metric.name}_bucket")
    }
    asked = set(re.findall(r"\bioc_\w+", "".join(json.dumps(board) for board in BOARDS.values()))) - {"ioc_grafana"}
    assert len(asked) == 4
    assert asked <= known


def test_addresses_and_passwords_come_from_the_environment() -> None:
    text = (FOLDER / "provisioning" / "datasources" / "ioc.yaml").read_text()
    told = re.findall(r"^ +(?:url|database|sslmode|password): (.+)$", text, re.M)
    assert len(told) == 5
    assert all(re.fullmatch(r"\$IOC_GRAFANA_\w+", one) for one in told)
