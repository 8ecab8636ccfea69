"""Does a centre that counts take up a changed site pack, without a restart and without losing count?"""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from dashboard_api.closing import NOTHING_CLOSED
from dashboard_api.spans import Span
from dashboard_api.values import read_values
from deploy.local import ports
from deploy.site import load_site
from schemas import codec
from schemas.event import AnyEvent, AreaId
from schemas.site import Site, parse_site
from schemas.topics import CASES
from tests.faults.centre import Centre, until
from tests.faults.site import PACK, write_pack
from tests.faults.test_worker import everybody_counts, more_is_counted
from tests.faults.traffic import HttpSender, Traffic, events
from tests.faults.truth import same, stored
from tests.streams import held, naive

KPIS = PACK["kpis.toml"]

FURTHER_KPIS = """
[[kpi]]
id = "received_by_app"
names = { en = "Reports received by the app" }
unit = "1"
event = "ioc.feedback.received.v1"
measure = "count"
where = { channel = "app" }
dimensions = ["agency"]

[[kpi]]
id = "longest_by_category"
names = { en = "Longest handling time" }
unit = "s"
event = "ioc.feedback.closed.v1"
measure = "max"
since = "opened_at"
dimensions = ["category"]

[[kpi]]
id = "kinds"
names = { en = "Kinds of objects seen" }
unit = "1"
event = "ioc.camera.detection.v1"
measure = "distinct"
of = "kind"
"""

NAME, CHANGED_NAME = '"Reports received"', '"Reports that came in"'

# A redrawn map: the communes of District One became one, and the codes of old are used again.
NEW_LIST = "test-2026"
REDRAWN = {
    "site.toml": PACK["site.toml"].replace('area_list = "test-2025"', f'area_list = "{NEW_LIST}"'),
    "areas.csv": """id,list,code,parent,kind,name_vi,name_en,zone
00-2026,,00,,province,Tỉnh thử,Test province,
0101-2026,,0101,00-2026,commune,Xã Một và Hai,Communes One and Two,
0201-2026,,0201,00-2026,commune,Xã Ba và Tư,Communes Three and Four,
,test-2025,00,,province,Tỉnh thử,Test province,
,,01,00,district,Huyện Một,District One,
,,0101,01,commune,Xã Một,Commune One,
,,0102,01,commune,Xã Hai,Commune Two,
,,02,00,district,Huyện Hai,District Two,Asia/Kolkata
,,0201,02,commune,Xã Ba,Commune Three,America/New_York
howe,,0202,02,commune,Xã Tư,Commune Four,Australia/Lord_Howe
""",
    "lineage.csv": """old,new,kind
0101,0101-2026,full
0102,0101-2026,full
0201,0201-2026,full
howe,0201-2026,full
""",
}

Place = tuple[str, int, int]
"""Topic, partition and offset."""


@pytest.fixture
async def centre(kafka: str, database_url: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Centre]:
    """A centre whose site pack may be edited."""
    centre = Centre(kafka, database_url, topic_prefix, tmp_path, write_pack(PACK, tmp_path / "site"))
    try:
        await centre.create()
        yield centre
    finally:
        centre.end()


async def test_a_pack_changes_under_load(centre: Centre) -> None:
    pack = centre.site_folder
    ports_ = [ports.free_port(), ports.free_port()]
    workers = [centre.start_worker(number, port) for number, port in enumerate(ports_)]
    with centre.web() as address:
        async with httpx.AsyncClient(base_url=address, timeout=30) as web:
            told = [web, *(httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") for port in ports_)]
            sending = Traffic(centre, HttpSender(web), pause_s=0.15)
            await until(lambda: _shows(web, "received", "Reports received"), "the catalogue is shown", centre)
            async with sending.flowing():
                await everybody_counts(centre, workers)
                await more_is_counted(centre, 0)

                (pack / "kpis.toml").write_text(KPIS.replace(NAME, CHANGED_NAME) + FURTHER_KPIS)
                await until(lambda: _shows(web, "received", "Reports that came in"), "the new name", centre)
                await until(lambda: _shows(web, "received_by_app", "Reports received by the app"), "the KPI", centre)
                await until(lambda: _all_switched(centre), "every partition counts by the new catalogue", centre)
                await more_is_counted(centre, await centre.counted())

                mistaken = KPIS.replace('measure = "distinct"', 'measure = "different"', 1)
                (pack / "kpis.toml").write_text(mistaken)
                await until(lambda: _all_say(told, broken=True), "everybody says that the pack is broken", centre)
                await more_is_counted(centre, await centre.counted())
                assert await _shows(web, "received_by_app", "Reports received by the app")
                _is_logged_with_its_fix(centre, mistaken)

                (pack / "kpis.toml").write_text(KPIS.replace(NAME, CHANGED_NAME) + FURTHER_KPIS)
                await until(lambda: _all_say(told, broken=False), "everybody says that the pack is repaired", centre)
                for name, text in REDRAWN.items():
                    (pack / name).write_text(text)
                await until(lambda: _knows_list(web), "the redrawn map is shown", centre)
                renamed = await _send_from_new_areas(web)
                await more_is_counted(centre, await centre.counted())
            await until(centre.caught_up, "everything is counted", centre)
            for client in told[1:]:
                await client.aclose()
    assert [worker.exit_code() for worker in workers] == [None, None]
    assert await centre.dead_letters() == []
    await _nothing_is_lost(centre, renamed)


async def _shows(web: httpx.AsyncClient, kpi: str, name: str) -> bool:
    """Whether the API shows an indicator under this name."""
    with_names = await _get(web, "/v1/kpis")
    return with_names is not None and any(
        one["id"] == kpi and one["names"]["en"] == name for one in with_names["items"]
    )


async def _knows_list(web: httpx.AsyncClient) -> bool:
    areas = await _get(web, "/v1/areas")
    return areas is not None and any(area["list"] == NEW_LIST for area in areas["items"])


async def _get(web: httpx.AsyncClient, path: str) -> Any:  # JSON
    """An answer's JSON; None while there is none."""
    try:
        answer = await web.get(path)
    except httpx.TransportError:
        return None
    return answer.json() if answer.status_code == 200 else None


async def _all_switched(centre: Centre) -> bool:
    """Whether every partition of reports counts by the second catalogue."""
    async with centre.connected() as connection:
        switched = await connection.fetchval(
            "SELECT count(*) FROM position WHERE topic = $1 AND site_version = 2", centre.prefix + CASES.name
        )
    return switched == CASES.partitions


async def _all_say(told: list[httpx.AsyncClient], *, broken: bool) -> bool:
    """Whether the metrics of all processes say that the pack on disk is broken, or is not."""
    line = f"ioc_site_pack_broken {float(broken)}"
    pages = [(await client.get("/metrics")).text for client in told]
    return all(line in page.splitlines() for page in pages)


def _is_logged_with_its_fix(centre: Centre, mistaken: str) -> None:
    """Every process names the file, the line and what would be right, once."""
    line = mistaken[: mistaken.index('"different"')].count("\n") + 1
    for child in centre.children:
        said = [one for one in child.log.read_text().splitlines() if "stays in force: kpis.toml" in one]
        assert len(said) == 1, child.name
        assert f"line {line}" in said[0]
        assert "different" in said[0]
        assert "distinct" in said[0]


async def _send_from_new_areas(web: httpx.AsyncClient) -> list[str]:
    """Reports that name the redrawn map's codes, which were another place's before. Returns their ids."""
    raws: list[bytes] = []
    for raw in events(60, "redrawn", random.Random(9)):
        event = msgspec.json.decode(raw)
        if event["type"] == "ioc.feedback.received.v1" and not event.get("supersedes"):
            event = {name: event[name] for name in event if name not in ("exercise", "withdraws")}
            raws.append(msgspec.json.encode(event | {"area": "0101", "arealist": NEW_LIST}))
    await HttpSender(web).send(raws, datetime.now(UTC))
    return [msgspec.json.decode(raw)["id"] for raw in raws]


async def _nothing_is_lost(centre: Centre, renamed: list[str]) -> None:
    """Old indicators hold all events, new ones those from the positions on where the catalogue was switched."""
    log = await _log(centre)
    async with centre.connected() as connection:
        switches = {
            (row["topic"], row["partition"]): row["next_offset"]
            for row in await connection.fetch("SELECT * FROM site_switch WHERE version = 2")
        }
        counted = await stored(connection, first=False)
    after_all = load_site(centre.site_folder)
    new_only = parse_site({**PACK, **REDRAWN, "kpis.toml": FURTHER_KPIS})
    before = parse_site({**PACK, **REDRAWN, "kpis.toml": KPIS})
    countable = naive.countable(event for event, _ in log.values())
    since = [event for event in countable if _is_since(log[event.source, event.id][1], switches)]
    assert 0 < len(since) < len(countable)
    truth = held.of_amounts(naive.amounts(countable, before)) | held.of_amounts(naive.amounts(since, new_only))
    assert {key[1] for key in truth} == {base.id for base in after_all.kpis.bases}
    same(truth, counted, "(truth, counted)")
    await _both_maps_add_up(centre, after_all, countable, renamed)


async def _log(centre: Centre) -> dict[tuple[str, str], tuple[AnyEvent, Place]]:
    """Everything on the log by source and id: where each stood first."""
    found: dict[tuple[str, str], tuple[AnyEvent, Place]] = {}
    ends = {at: end for at, end in (await centre.log_ends()).items() if end}
    async with centre.consumer() as consumer:
        consumer.assign(list(ends))
        await consumer.seek_to_beginning(*ends)
        while {at for at in ends if await consumer.position(at) < ends[at]}:
            async with asyncio.timeout(30):
                batches = await consumer.getmany(timeout_ms=500)
            for at, records in batches.items():
                for record in records:
                    event = codec.decode(record.value)
                    found.setdefault((event.source, event.id), (event, (at.topic, at.partition, record.offset)))
    return found


def _is_since(place: Place, switches: dict[tuple[str, int], int]) -> bool:
    topic, partition, offset = place
    return offset >= switches.get((topic, partition), 1 << 62)


async def _both_maps_add_up(centre: Centre, site: Site, countable: list[AnyEvent], renamed: list[str]) -> None:
    """A new commune is what came under its own code and under those of the communes that went into it."""
    received = [event for event in countable if "feedback.received" in str(event.__struct_config__.tag)]
    old = [event for event in received if event.area_list != NEW_LIST]
    assert {event.id for event in received if event.area_list == NEW_LIST} == set(renamed)
    async with centre.connected() as connection:
        values = await read_values(
            connection,
            site,
            ["received"],
            [AreaId(area) for area in ("00-2026", "0101-2026", "0101", "00")],
            [Span(0, int(datetime.now(UTC).timestamp()) // 86400 * 86400 + 2 * 86400)],
            closed=NOTHING_CLOSED,
        )
    shown = {area: reported.now for (_, area, _, _), reported in values.items()}
    of_one, of_two = (sum(event.area == code for event in old) for code in ("0101", "0102"))
    assert of_one
    assert of_two
    assert (shown["00-2026"].value, shown["00-2026"].exact) == (len(received), True)
    assert (shown["0101-2026"].value, shown["0101-2026"].exact) == (len(renamed) + of_one + of_two, True)
    # On the old map what came under the old code is certain; what came under the new one may be part of it.
    assert (shown["0101"].value, shown["0101"].upper) == (of_one, of_one + len(renamed))
    assert (shown["00"].value, shown["00"].exact) == (len(received), True)
