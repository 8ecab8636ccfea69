"""Does the reference catalogue hold what Vietnamese provinces are asked for, and does each one mean what it says?

`python -m tests.acceptance.test_reference_catalogue` prints the table of docs/reference-catalogue.md.
"""

import math
import re
import shutil
import unicodedata
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import msgspec
import pytest
from msgspec import Struct

from dashboard_api.closing import NOTHING_CLOSED
from dashboard_api.spans import Span
from dashboard_api.values import read_values
from deploy.migrate import migrate_schema
from deploy.site import load_pack, load_site
from schemas.event import AnyEvent, IndicatorObserved, type_of
from schemas.filter import Where, compile_filter
from schemas.kpi import DERIVED, Base, Catalogue, Kpi, Measure
from schemas.kpi_table import parse_kpis
from schemas.period import Grain
from schemas.topics import INPUTS, Dedupe, topic_of
from streams.store.timescale import TimescaleWriter
from streams.store.writer import Lane, LaneBatch, Position
from streams.versions import Versions, compiled

ROOT = Path(__file__).parents[2]
PACK = ROOT / "deploy" / "sites" / "vietnam"
PAGE = ROOT / "docs" / "reference-catalogue.md"

CATALOGUE = parse_kpis((PACK / "kpis.toml").read_text(), languages=("vi", "en"))
KPIS = [pytest.param(kpi, id=kpi.id) for kpi in CATALOGUE.kpis]

TABLE_BEGIN, TABLE_END = "<!-- table -->\n", "<!-- /table -->\n"
OWN = "site"
"""The `document` of an indicator that only the centre lays down."""

LAW = re.compile(
    r"(Luật [^\d]+\d+/\d{4}/QH\d+|Quyết định \d+/QĐ-TTg|Nghị định \d+/\d{4}/NĐ-CP|Thông tư \d+/\d{4}/TT-[A-Z]+)\b"
)
OBSERVED = "ioc.indicator.observed.v1"
CODE = re.compile(r"`([^`]+)`")


# ── What the file says ─────────────────────────────────────────────────────────────────────────────────────────────


def test_there_are_enough() -> None:
    assert len(CATALOGUE.kpis) >= 45


@pytest.mark.parametrize("kpi", KPIS)
def test_every_indicator_is_described(kpi: Kpi) -> None:
    assert re.fullmatch(r"[a-z_]+\.[a-z0-9_]+", kpi.id)
    assert list(kpi.names) == ["vi", "en"]
    assert all(name.strip() == name != "" for name in kpi.names.values())
    assert kpi.unit in {"1", "s", "[ppth]"}
    assert kpi.pillar in {"government", "economy", "society"}
    assert kpi.owner
    assert kpi.document == OWN or LAW.search(kpi.document or "")


@pytest.mark.parametrize("kpi", KPIS)
def test_figures_that_judge_have_a_source_and_a_direction(kpi: Kpi) -> None:
    if kpi.target:
        assert kpi.document != OWN
        assert kpi.direction == "higher"
        assert all(0 < target.value <= 1 and target.end for target in kpi.target)
    if kpi.thresholds:
        assert kpi.document == OWN
        falls = kpi.thresholds.warning > kpi.thresholds.bad
        assert kpi.direction == ("higher" if falls else "lower")


@pytest.mark.parametrize("file", ["site.toml", "kpis.toml", "reports.toml"])
def test_letters_are_composed(file: str) -> None:
    """A name typed with combining marks looks the same and is found by nobody."""
    text = (PACK / file).read_text()
    assert text == unicodedata.normalize("NFC", text)


def test_no_name_is_used_twice() -> None:
    for language in ("vi", "en"):
        names = [kpi.names[language] for kpi in CATALOGUE.kpis]
        assert len(set(names)) == len(names)


def test_reported_indicators_are_named_as_their_kpi() -> None:
    for kpi in CATALOGUE.kpis:
        for base in CATALOGUE.bases_of(kpi.id):
            if base.event == OBSERVED:
                assert isinstance(base.where, dict)
                assert base.where["indicator"] == kpi.id
                assert base.period == ("year" if kpi.id in YEARLY else "month")


def test_the_whole_pack_is_read() -> None:
    site = load_site(PACK)
    assert (site.header.id, site.header.area_list, site.header.languages) == ("vietnam", "vn-2025", ["vi", "en"])
    assert site.areas.root.zone == site.header.zone == "Asia/Ho_Chi_Minh"
    assert len(site.kpis.kpis) == len(CATALOGUE.kpis)


def test_the_reports() -> None:
    reports = {report.id: report for report in load_site(PACK).reports}
    assert set(reports) == {"public-service-index", "digital-transformation"}
    asked = {CATALOGUE[id_].document for id_ in reports["public-service-index"].kpis}
    for group in GROUPS_766:
        assert any(document and document.endswith(group) for document in asked)
    pillars = {CATALOGUE[id_].pillar for id_ in reports["digital-transformation"].kpis}
    assert pillars == {"government", "economy", "society"}


GROUPS_766 = (
    "Công khai, minh bạch",
    "Tiến độ, kết quả giải quyết",
    "Số hóa hồ sơ",
    "Cung cấp dịch vụ trực tuyến",
    "Mức độ hài lòng",
)

R, C, D = Measure.RATIO, Measure.COUNT, Measure.DISTINCT
TOPICS: list[tuple[str, Measure, str]] = [
    ("openness and transparency", R, "procedure.updated_on_time"),
    ("dossiers closed on time", Measure.IN_TIME, "dossier.on_time"),
    ("dossiers digitised at the intake", R, "dossier.digitised"),
    ("results digitised", R, "dossier.result_digitised"),
    ("dossiers online", R, "dossier.online"),
    ("satisfaction with dossiers", Measure.MEAN, "dossier.satisfaction"),
    ("satisfied with dossiers", R, "dossier.satisfied"),
    ("dossiers received online", C, "dossier.online_received"),
    ("incomplete dossiers", R, "dossier.incomplete"),
    ("citizens helped at the desk", C, "dossier.assisted"),
    ("cashless payment", R, "dossier.cashless"),
    ("reports received", C, "feedback.received"),
    ("reports in handling", Measure.BALANCE, "feedback.in_handling"),
    ("reports resolved", C, "feedback.closed"),
    ("reports resolved on time", Measure.IN_TIME, "feedback.closed_on_time"),
    ("time to the first answer, median", Measure.PERCENTILE, "feedback.first_answer_median"),
    ("time to the first answer, p90", Measure.PERCENTILE, "feedback.first_answer_p90"),
    ("time to resolution, median", Measure.PERCENTILE, "feedback.resolution_median"),
    ("time to resolution, p90", Measure.PERCENTILE, "feedback.resolution_p90"),
    ("reports reopened", C, "feedback.reopened"),
    ("satisfaction with reports", Measure.MEAN, "feedback.satisfaction"),
    ("share through each channel", R, "feedback.channel_share"),
    ("how regularly authorities answer", Measure.IN_TIME, "feedback.answered_on_time"),
    ("cases opened", C, "case.opened"),
    ("time until a case is answered", Measure.PERCENTILE, "case.answer_median"),
    ("time until a case is accepted", Measure.PERCENTILE, "case.acceptance_median"),
    ("time until a unit arrives", Measure.PERCENTILE, "case.arrival_median"),
    ("time until a case is resolved", Measure.PERCENTILE, "case.resolution_median"),
    ("cases on time", R, "case.resolved_on_time"),
    ("cases reopened", R, "case.reopened_share"),
    ("cases disputed", R, "case.disputed_share"),
    ("satisfaction with cases", Measure.MEAN, "case.satisfaction"),
    ("escalations", C, "case.escalations"),
    ("utilisation of units", R, "unit.utilisation"),
    ("complaints about officials", C, "conduct.opened"),
    ("detections by kind", Measure.SUM, "camera.detections"),
    ("incidents", C, "camera.incidents"),
    ("incidents per 1,000 detections", R, "camera.incidents_per_1000"),
    ("active cameras", D, "camera.active"),
    ("silent cameras", Measure.SILENT, "camera.silent"),
    ("availability", Measure.MEAN, "service.availability"),
    ("latency p50", Measure.PERCENTILE, "service.response_time_median"),
    ("latency p95", Measure.PERCENTILE, "service.response_time_p95"),
    ("error share", R, "service.error_share"),
    ("saturation", Measure.LATEST, "service.saturation"),
    ("households online", R, "household.online"),
    ("adults with a smartphone", R, "citizen.smartphone"),
    ("mobile payment", R, "citizen.mobile_payment"),
    ("villages without signal", Measure.LATEST, "village.no_signal"),
    ("villages without power", Measure.LATEST, "village.no_power"),
    ("loudspeakers working", R, "loudspeaker.working"),
    ("digital community groups active", R, "digital_group.active"),
    ("IT staff coverage", R, "it_staff.coverage"),
    ("electronic health records", R, "citizen.health_record"),
    ("health insurance by electronic identity", R, "health_insurance.electronic_identity"),
]


@pytest.mark.parametrize(("measure", "id_"), [pytest.param(m, i, id=topic) for topic, m, i in TOPICS])
def test_what_provinces_are_asked_for_is_there(measure: Measure, id_: str) -> None:
    assert CATALOGUE[id_].measure is measure


# ── What it means: a day of events, counted by hand ────────────────────────────────────────────────────────────────

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
BEGIN = datetime(2026, 10, 20, tzinfo=ZoneInfo("Asia/Ho_Chi_Minh"))
END = BEGIN + DAY
NOON = BEGIN + 12 * HOUR


def happened(type_: str, time: datetime, area: str = "00004", /, **data: Any) -> AnyEvent:
    """An event of this type. `on_the_log` gives it an id of its own."""
    envelope = {"specversion": "1.0", "type": f"ioc.{type_}.v1", "id": "1", "source": "test"}
    event: AnyEvent = msgspec.convert({**envelope, "time": time, "area": area, "data": data}, AnyEvent)
    return event


COUNTED = ("village.no_signal", "village.no_power")
"""Reported as a number, which is of nothing."""

REPORTED: dict[str, float] = {
    "procedure.published_on_time": 95,
    "procedure.updated_on_time": 94,
    "procedure.complete": 93,
    "dossier.synchronised": 92,
    "dossier.data_reused": 41,
    "procedure.online": 62,
    "work_file.online": 91,
    "it_staff.coverage": 55,
    "economy.digital_share": 17,
    "economy.e_commerce": 11,
    "business.digital_platform": 47,
    "business.e_contract": 78,
    "citizen.payment_account": 87,
    "citizen.mobile_payment": 66,
    "household.online": 82,
    "citizen.smartphone": 84,
    "citizen.digital_signature": 25,
    "citizen.electronic_identity": 74,
    "citizen.health_record": 89,
    "health_insurance.electronic_identity": 71,
    "digital_group.active": 64,
    "village.no_signal": 27,
    "village.no_power": 18,
    "loudspeaker.working": 79,
}
"""Of 100 in two communes together: what their last reports add up to."""


YEARLY = {"economy.digital_share", "economy.e_commerce"}
PERIODS: dict[Grain | None, str] = {Grain.YEAR: "2026", Grain.MONTH: "2026-10", Grain.DAY: "2026-10-20"}
"""The periods that hold the day."""


def a_day() -> list[AnyEvent]:
    """What the expectations below were worked out from with pencil and paper."""
    events = [
        happened("feedback.received", BEGIN - DAY, category="road", channel="web"),
        happened("feedback.received", NOON, category="road", channel="phone"),
        happened("feedback.received", NOON, category="road", channel="phone"),
        happened("feedback.received", NOON, category="waste", channel="app"),
        happened("feedback.received", NOON, category="waste", channel="web"),
        happened("feedback.reopened", NOON, category="road"),
    ]
    for hours, hours_left in ((1, 0), (2, 5), (3, -1), (4, None), (10, -3)):
        due = {} if hours_left is None else {"due_at": NOON + hours_left * HOUR}
        events.append(happened("feedback.answered", NOON, category="road", opened_at=NOON - hours * HOUR, **due))
    for days, days_left in ((1, 1), (2, 0), (5, -1), (7, 2), (11, -4)):
        opened, due_at = NOON - days * DAY, NOON + days_left * DAY
        events.append(happened("feedback.closed", NOON, category="road", opened_at=opened, due_at=due_at))
    events += [happened("feedback.rated", NOON, score=score) for score in (5, 4, 2)]

    for channel, rest in (
        ("online", {"digitised": True}),
        ("online", {"digitised": True}),
        ("online", {"digitised": True, "complete": False}),
        ("desk", {"digitised": True, "assisted": True}),
        ("desk", {}),
    ):
        events.append(happened("dossier.received", NOON, procedure="1.001", channel=channel, **rest))
    for days, days_left, rest in (
        (1, 1, {"payment": "cashless", "result": "granted", "result_digitised": True}),
        (2, 0, {"payment": "cash", "result": "refused", "result_digitised": True}),
        (3, 2, {"payment": "none", "result": "refused"}),
        (6, -1, {"payment": "cashless", "result": "withdrawn"}),
    ):
        times = {"submitted_at": NOON - days * DAY, "due_at": NOON + days_left * DAY}
        events.append(happened("dossier.closed", NOON, procedure="1.001", channel="desk", **times, **rest))
    events += [happened("dossier.rated", NOON, score=score) for score in (4, 3)]

    for camera, count, time in (
        ("a", 300, NOON),
        ("a", 100, NOON + HOUR),
        ("b", 100, NOON),
        ("c", 50, BEGIN - DAY),
        ("d", 50, BEGIN - 8 * DAY),
    ):
        events.append(happened("camera.detection", time, camera=camera, kind="car", count=count))
    events += [happened("camera.incident", NOON, camera="a", kind="crash", severity="major") for _ in range(2)]

    for metric, values in (
        ("up", (1, 1, 1, 0)),
        ("http_requests", (900, 100)),
        ("http_errors", (9, 11)),
        ("response_time", (0.4, 0.1, 0.3, 0.2, 2.0)),
    ):
        later = NOON + 2 * HOUR
        events += [
            happened("service.metric", later, service="portal", metric=metric, value=value) for value in values
        ]
    for service, value, time in (("portal", 0.9, NOON), ("portal", 0.5, NOON + HOUR), ("mail", 0.6, NOON)):
        events.append(happened("service.metric", time, service=service, metric="saturation", value=value))

    events += case_steps()

    for indicator, value in REPORTED.items():
        for area, given, of, time in (
            ("00004", value - 5, 60, NOON),
            ("00008", 5, 40, NOON),
            ("00004", 1, 60, NOON - HOUR),  # reported again later
            ("00025", 9, None, NOON),  # of how many it does not say
            ("00004", 2, 60, None),  # for a period of another length
        ):
            if indicator in COUNTED and of is None:
                continue
            share = {"value": given} if of is None else {"value": given, "of": of}
            period = PERIODS[CATALOGUE.bases_of(indicator)[0].period if time else Grain.DAY]
            at = time or NOON + HOUR
            events.append(happened("indicator.observed", at, area, indicator=indicator, period=period, **share))
    return events


def case_steps() -> list[AnyEvent]:
    """Eight cases of one day, from whoever opened them to whoever was sent."""

    def step(name: str, took: timedelta | None = None, kind: str = "service", **data: Any) -> AnyEvent:
        since = {} if took is None else {"since": NOON - took}
        case = {"case": "c", "kind": kind, "category": "road", "severity": "minor"}
        return happened("case.step", NOON, **case, step=name, **since, **data)

    events = [step("opened") for _ in range(8)]
    for hours, on_time in ((1, True), (2, True), (3, False), (4, None), (10, False)):
        judged = {} if on_time is None else {"on_time": on_time}
        events += [step("answered", hours * HOUR, **judged), step("accepted", 2 * hours * HOUR, **judged)]
    for minutes, on_time in ((10, True), (20, True), (30, True), (50, True), (90, False)):
        events.append(step("arrived", timedelta(minutes=minutes), unit="doi-1", on_time=on_time))
    for days, worked, on_time in ((1, 8, True), (2, 16, True), (5, 24, False), (7, 32, True), (11, 40, False)):
        events.append(step("resolved", days * DAY, worked_s=worked * HOUR_S, on_time=on_time))
    events += [step("closed"), step("closed"), step("closed"), step("reopened"), step("disputed"), step("disputed")]
    events += [step("rated", score=score) for score in (5, 4, 3, 1)]
    events += [step("escalated"), step("escalated")]
    # Three complaints about officials, which nothing else counts.
    events += [step("opened", kind="conduct") for _ in range(3)]
    events += [step("resolved", DAY, kind="conduct", on_time=on_time) for on_time in (True, False)]
    events += [step("offered", unit=unit) for unit in ("doi-1", "doi-1", "doi-1", "doi-2")]
    events += [step("missed", unit="doi-1"), step("declined", unit="doi-2"), step("declined", unit="doi-1")]
    events += [
        step("unit_done", hours * HOUR, unit=unit) for unit, hours in (("doi-1", 1), ("doi-1", 2), ("doi-2", 3))
    ]
    # Sixteen hours on duty, of which one is taken back: the unit's word that it was off came late.
    events += [happened("unit.duty", NOON, unit="doi-1", seconds=HOUR_S) for _ in range(9)]
    events += [happened("unit.duty", NOON, unit="doi-2", seconds=HOUR_S) for _ in range(7)]
    events.append(happened("unit.duty", NOON, unit="doi-2", seconds=-HOUR_S))
    return events


HOUR_S = HOUR.total_seconds()
DAY_S = DAY.total_seconds()
EXPECTED: dict[str, float] = {
    **{id_: value / 100 for id_, value in REPORTED.items()},
    "village.no_signal": 27,
    "village.no_power": 18,
    "dossier.received": 5,
    "dossier.closed": 4,
    "dossier.in_handling": 1,
    "dossier.on_time": 3 / 4,
    "dossier.handling_time": 3 * DAY_S,
    "dossier.incomplete": 1 / 5,
    "dossier.assisted": 1,
    "dossier.digitised": 4 / 5,
    "dossier.result_digitised": 2 / 3,
    "dossier.online_received": 3,
    "dossier.online": 3 / 5,
    "dossier.cashless": 2 / 3,
    "dossier.satisfaction": 3.5,
    "dossier.satisfied": 1 / 2,
    "feedback.received": 4,
    "feedback.closed": 5,
    "feedback.reopened": 1,
    "feedback.settled": 4,
    "feedback.in_handling": 1,
    "feedback.closed_on_time": 3 / 5,
    "feedback.answered": 5,
    "feedback.answered_on_time": 2 / 4,
    "feedback.first_answer_median": 3 * HOUR_S,
    "feedback.first_answer_p90": 4 * HOUR_S,
    "feedback.resolution_median": 5 * DAY_S,
    "feedback.resolution_p90": 7 * DAY_S,
    "feedback.reopened_share": 1 / 5,
    "feedback.satisfaction": 11 / 3,
    "feedback.satisfied": 2 / 3,
    "feedback.channel_share": 1,
    "case.opened": 8,
    "case.resolved": 5,
    "case.closed": 3,
    "case.answer_median": 3 * HOUR_S,
    "case.answer_p90": 4 * HOUR_S,
    "case.acceptance_median": 6 * HOUR_S,
    "case.acceptance_p90": 8 * HOUR_S,
    "case.arrival_median": HOUR_S / 2,
    "case.arrival_p90": HOUR_S * 5 / 6,
    "case.resolution_median": 5 * DAY_S,
    "case.resolution_p90": 7 * DAY_S,
    "case.resolution_worked_median": 24 * HOUR_S,
    "case.answered_on_time": 2 / 4,
    "case.accepted_on_time": 2 / 4,
    "case.arrived_on_time": 4 / 5,
    "case.resolved_on_time": 3 / 5,
    "case.reopened_share": 1 / 5,
    "case.disputed_share": 2 / 5,
    "case.satisfaction": 13 / 4,
    "case.satisfied": 2 / 4,
    "case.escalations": 2,
    "conduct.opened": 3,
    "conduct.resolved_on_time": 1 / 2,
    "unit.offered": 4,
    "unit.missed_share": 1 / 4,
    "unit.declined_share": 2 / 4,
    "unit.busy_time": 6 * HOUR_S,
    "unit.active": 2,
    "unit.duty_time": 15 * HOUR_S,
    "unit.utilisation": 6 / 15,
    "camera.detections": 500,
    "camera.incidents": 2,
    "camera.incidents_per_1000": 4,
    "camera.active": 2,
    "camera.silent": 1,
    "service.availability": 3 / 4,
    "service.requests": 1000,
    "service.response_time_median": 0.3,
    "service.response_time_p95": 0.4,
    "service.error_share": 0.02,
    "service.saturation": 0.6,
}


def test_every_indicator_was_worked_out() -> None:
    assert set(EXPECTED) == {kpi.id for kpi in CATALOGUE.kpis}


@pytest.mark.parametrize("kpi", KPIS)
def test_every_indicator_means_what_it_says(kpi: Kpi) -> None:
    assert value_of(kpi.id, a_day(), BEGIN) == pytest.approx(EXPECTED[kpi.id])


def test_each_channel_is_set_against_all_reports() -> None:
    above, below = (CATALOGUE.base(part) for part in CATALOGUE.parts_of("feedback.channel_share"))
    assert (above.dimensions, below.dimensions) == (("channel",), ())
    today = [event for event in a_day() if BEGIN <= event.time < END]
    shares = {
        channel: read(above, [event for event in today if getattr(event.data, "channel", None) == channel], None)
        / read(below, today, None)
        for channel in ("phone", "app", "web")
    }
    assert shares == {"phone": 0.5, "app": 0.25, "web": 0.25}


async def test_the_centre_comes_to_the_same(database_url: str) -> None:
    """The same day through the writer's transaction, and read for the whole country."""
    await migrate_schema(database_url)
    site = load_site(PACK)
    pack = load_pack(PACK)
    writer = TimescaleWriter(database_url, "ioc", Versions(compiled(0, site)))
    try:
        version = compiled(await writer.register_site(pack), site)
        for topic in INPUTS:
            lane, log = Lane(topic.name, 0), [one for one in a_day() if topic_of(one) is topic]
            reading = version.reader.read(topic.name, 0, [on_the_log(at, one) for at, one in enumerate(log)])
            assert (len(reading.arrivals), reading.dead) == (len(log), [])
            position = await writer.position(lane, uuid.uuid4())
            outcome = await writer.commit(
                LaneBatch(
                    lane=lane,
                    expected=position,
                    reached=Position(position.topic_id, len(log), reading.watermark_s, version.number),
                    arrivals=reading.arrivals,
                    version=version,
                    unique=topic.dedupe is Dedupe.FOREVER,
                )
            )
            assert outcome.counted == len(log)
    finally:
        await writer.close()
    connection = await asyncpg.connect(database_url)
    try:
        day = Span(int(BEGIN.timestamp()), int(END.timestamp()))
        # A report counts at the start of its period.
        year = Span(*(int(datetime(at, 1, 1, tzinfo=BEGIN.tzinfo).timestamp()) for at in (2026, 2027)))
        root = site.areas.root.id
        found = await read_values(connection, site, list(EXPECTED), [root], [day, year], closed=NOTHING_CLOSED)
        shares = await read_values(
            connection, site, ["feedback.channel_share"], [root], [day], by="channel", closed=NOTHING_CLOSED
        )
    finally:
        await connection.close()
    # A percentile lies within 1 % of the exact one.
    read_as = {id_: found[id_, root, None, int(id_ in REPORTED)].now.value for id_ in EXPECTED}
    assert read_as == pytest.approx(EXPECTED, rel=0.01)
    by_channel = {channel: one.now.value for (_, _, channel, _), one in shares.items()}
    assert by_channel == {"phone": 0.5, "app": 0.25, "web": 0.25}


class OnTheLog(Struct, frozen=True):
    """A record as the log has it."""

    offset: int
    timestamp: int
    key: bytes
    value: bytes


def on_the_log(offset: int, event: AnyEvent) -> OnTheLog:
    """The event as `ingest` would have written it, with an id of its own."""
    named = msgspec.structs.replace(event, id=f"{type_of(event)}/{offset}", area_list="vn-2025")
    return OnTheLog(offset, int(END.timestamp() * 1000), b"", msgspec.json.encode(named))


def value_of(id_: str, events: Sequence[AnyEvent], begin: datetime) -> float:
    """A KPI, or an operand of one, over [`begin`, END): slow and plain, and without the engine's arithmetic."""
    kpi = CATALOGUE[id_] if id_ in CATALOGUE else None  # noqa: SIM401  # a catalogue is no dictionary
    if kpi is None or kpi.measure not in DERIVED:
        within = [event for event in events if begin <= event.time < END]
        return read(CATALOGUE.base(id_), within, kpi and kpi.q)
    first, *others = CATALOGUE.parts_of(id_)
    match kpi.measure:
        case Measure.RATIO:
            return value_of(first, events, begin) / value_of(others[0], events, begin) * kpi.per
        case Measure.BALANCE:
            ever = datetime.min.replace(tzinfo=UTC)
            return value_of(first, events, ever) - value_of(others[0], events, ever)
        case _:
            lookback = END - timedelta(days=kpi.lookback_days)
            return value_of(first, events, lookback) - value_of(first, events, begin)


def read(base: Base, events: Iterable[AnyEvent], q: float | None) -> float:
    """What a base measures of these events, whichever area and dimension they have."""
    filter_, length = compile_filter(base.where), base.period and len(PERIODS[base.period])
    needed = [name for name in (base.value, base.since, base.due, base.of) if name is not None]
    counted = [
        event
        for event in sorted(events, key=lambda event: event.time)
        if type_of(event) == base.event
        and (getattr(event.data, "kind", "") == "conduct") == (base.audience == "supervision")
        and filter_.accepts([getattr(event.data, name) for name in filter_.fields])
        and (length is None or (isinstance(event, IndicatorObserved) and len(event.data.period) == length))
        and all(getattr(event.data, name) is not None for name in needed)
    ]
    match base.measure:
        case Measure.COUNT:
            return len(counted)
        case Measure.IN_TIME:
            assert base.due is not None
            return sum(event.time <= getattr(event.data, base.due) for event in counted) / len(counted)
        case Measure.DISTINCT:
            assert base.of is not None
            return len({getattr(event.data, base.of) for event in counted})
        case _:
            numbers = [number(base, event) for event in counted]
    match base.measure:
        case Measure.SUM:
            return sum(numbers)
        case Measure.MEAN:
            return sum(numbers) / len(numbers)
        case Measure.PERCENTILE:
            assert q is not None
            # Between two neighbours the lower one is taken.
            return sorted(numbers)[math.floor(q * (len(numbers) - 1))]
        case Measure.LATEST:
            last = {
                (event.area, *(getattr(event.data, name) for name in base.dimensions)): one
                for event, one in zip(counted, numbers, strict=True)
            }
            return {"sum": sum, "max": max}[base.across](last.values())
        case _:
            raise AssertionError(f"the catalogue has no base of {base.measure}")


def number(base: Base, event: AnyEvent) -> float:
    """What one event is worth."""
    if base.since is not None:
        return (event.time - getattr(event.data, base.since)).total_seconds()
    assert base.value is not None
    return float(getattr(event.data, base.value))


# ── The page ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_lists_the_catalogue() -> None:
    page = PAGE.read_text()
    assert page.split(TABLE_BEGIN)[1].split(TABLE_END)[0] == table(CATALOGUE)


def test_a_province_can_begin_as_the_page_says(tmp_path: Path) -> None:
    example = PAGE.read_text().split("```toml\n")[1].split("```")[0]
    (tmp_path / "site.toml").write_text(example)
    for file in ("kpis.toml", "reports.toml"):
        shutil.copy(PACK / file, tmp_path)
    site = load_site(tmp_path)
    assert (site.areas.root.code, site.areas.root.names["vi"]) == ("08", site.header.names["vi"])
    assert len(site.areas.children(site.areas.root.id)) > 100


def test_the_page_names_every_part_of_another() -> None:
    """Taken over by the page's table, no indicator lacks one that it names."""
    rows = [
        line.split("|")[1:3] for line in PAGE.read_text().split(TABLE_END)[1].split("\n") if line.startswith("| `")
    ]
    needs = {
        id_: set(CODE.findall(below)) for above, below in rows for id_ in CODE.findall(above) if id_ in CATALOGUE
    }
    for kpi in CATALOGUE.kpis:
        named = {part for part in CATALOGUE.parts_of(kpi.id) if part in CATALOGUE and part != kpi.id}
        assert needs.get(kpi.id, set()) == named, kpi.id


def table(catalogue: Catalogue) -> str:
    """The catalogue as Markdown, in the order of the file."""
    lines = ["| id | tên | name | measure | document |", "| --- | --- | --- | --- | --- |"]
    for kpi in catalogue.kpis:
        cells = [f"`{kpi.id}`", kpi.names["vi"], kpi.names["en"], told(catalogue, kpi.id), kpi.document or ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def told(catalogue: Catalogue, id_: str) -> str:
    """How a KPI is measured, in one line."""
    kpi = catalogue[id_]
    if kpi.measure not in DERIVED:
        more = (
            f" {kpi.q:g}" if kpi.q is not None else f", {kpi.across} of all:" if kpi.measure is Measure.LATEST else ""
        )
        return f"{kpi.measure}{more} {told_base(catalogue.base(id_))}"
    parts = catalogue.parts_of(id_)
    if kpi.measure is Measure.RATIO and all(base.event == OBSERVED for base in catalogue.bases_of(id_)):
        return "ratio: reported `value` / `of`"
    told_parts = [
        f"`{part}`" if part in catalogue else f"{catalogue.base(part).measure} {told_base(catalogue.base(part))}"
        for part in parts
    ]
    sign = {Measure.RATIO: " / ", Measure.BALANCE: " − ", Measure.SILENT: ""}[kpi.measure]
    per = f", times {kpi.per:g}" if kpi.per != 1 else ""
    return f"{kpi.measure}: {sign.join(told_parts)}{per}"


def told_base(base: Base) -> str:
    """Which events, which field of them, and under which conditions."""
    event = base.event.removeprefix("ioc.").removesuffix(".v1")
    field = base.value or base.of or base.due or (f"time since {base.since}" if base.since else "")
    of = f" {field}" if field else ""
    where = f" where {told_where(base.where)}" if base.where else ""
    by = f" by {', '.join(base.dimensions)}" if base.dimensions else ""
    return f"`{event}`{of}{where}{by}"


def told_where(where: Where) -> str:
    """The conditions as a person would say them."""
    assert isinstance(where, dict)
    told_all: list[str] = []
    for field, condition in where.items():
        match condition:
            case list():
                told_all.append(f"{field} = {' or '.join(map(str, condition))}")
            case bool() | str() | int() | float():
                told_all.append(f"{field} = {str(condition).lower() if isinstance(condition, bool) else condition}")
            case _ if condition.given:
                told_all.append(f"{field} is given")
            case _:
                assert condition.at_least is not None
                told_all.append(f"{field} ≥ {condition.at_least:g}")
    return ", ".join(told_all)


if __name__ == "__main__":
    print(table(CATALOGUE), end="")
