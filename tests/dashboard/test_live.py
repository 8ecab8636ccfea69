"""Does the live feed show what a real database committed: all of it, in order, once?"""

import asyncio
import random
import time
from collections.abc import Collection
from typing import Any

import asyncpg
import msgspec
import pytest
from prometheus_client import REGISTRY
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from dashboard_api.conflation import Part
from dashboard_api.hub import Batch, Hub
from dashboard_api.position import Position, parse_position
from schemas.kpi import MICRO, Measure, Partial, kpi_value
from schemas.sketch import merge_bins
from tests.dashboard.centre import (
    WAIT_S,
    Report,
    Running,
    Sample,
    dashboard,
    hear,
    say,
    site,
    writer,
)

DAY_S = 24 * 3600
AREAS = ["00", "01", "02", "03"]
KPIS = ["feedback_received", "closed_in_time", "response_ms"]
"""Such as are read from one bucket."""


class Board:
    """What a client shows: values by (kpi, area, bucket) with n > 0, event ids, and its position."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str, int], dict[str, Any]] = {}
        self.event_ids: list[str] = []
        self.position: str | None = None
        self.snapshots: list[str | None] = []

    def read(self, message: dict[str, Any]) -> None:
        """Takes one message."""
        if message["op"] == "snapshot":
            self.snapshots.append(message["reason"])
            self.values = {
                (s["kpi"], s["area"], p["bucket"]): p for s in message["series"] for p in s["points"] if p["n"]
            }
            self.event_ids = [event["event"]["id"] for event in message["events"]]
        if message["op"] == "change":
            for value in message["values"]:
                key = (value["kpi"], value["area"], value["bucket"])
                if self.values.get(key, {}).get("version", 0) <= value["version"]:
                    self.values[key] = value
            new = [event["event"]["id"] for event in message["events"]]
            assert not set(new) & set(self.event_ids), "an event came twice"
            assert message["events_skipped"] == 0
            self.event_ids += new
        if message.get("position"):
            if self.position is not None and message["op"] == "change":
                assert _position(self.position) <= _position(message["position"])
            self.position = message["position"]

    def shown(self) -> dict[tuple[str, str, int], tuple[float | None, int]]:
        """The values, to be compared."""
        return {key: (_rounded(point["value"]), point["n"]) for key, point in self.values.items()}


def _position(text: str) -> Position:
    position = parse_position(text)
    assert position is not None
    return position


def _rounded(value: float | None) -> float | None:
    # Partials are added up in any order, so the last digits may differ.
    return None if value is None else round(value, 9)


async def held(url: str) -> dict[tuple[str, str, int], tuple[float | None, int]]:
    """What the database holds, minute by minute."""
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(
        "SELECT kpi, area, extract(epoch FROM bucket)::bigint AS s, n, total, low, high, sketch FROM kpi_minute"
    )
    await connection.close()
    catalogue = site().kpis
    partials: dict[tuple[str, str, int], list[Partial]] = {}
    for r in rows:
        found = partials.setdefault((r["kpi"], r["area"], r["s"]), [])
        if catalogue.base(r["kpi"]).measure is Measure.PERCENTILE:
            found += [Partial(bin=bin_, n=n) for bin_, n in merge_bins([r["sketch"]]).items()]
        else:
            found.append(Partial(n=r["n"], total=float(r["total"]) / MICRO, low=r["low"], high=r["high"]))
    values = {key: kpi_value(catalogue, key[0], {key[0]: found}) for key, found in partials.items()}
    return {key: (_rounded(value.value), value.n) for key, value in values.items()}


async def follow(running: Running, board: Board, until: asyncio.Event, target: str | None = None) -> None:
    """Reads until told to stop. Resumes with the board's position."""
    async with running.live() as client:
        position = {"position": board.position} if board.position else {}
        await say(client, op="subscribe", kpis=KPIS, areas=AREAS, tier="minute", points=60, events=500, **position)
        while not until.is_set():
            try:
                async with asyncio.timeout(0.1):
                    text = await client.recv()
            except TimeoutError:
                continue
            board.read(msgspec.json.decode(text))


async def until_equal(url: str, board: Board, event_ids: set[str]) -> None:
    """Waits for the board to show what the database holds."""
    async with asyncio.timeout(WAIT_S):
        while board.shown() != await held(url) or set(board.event_ids) != event_ids:  # noqa: ASYNC110  # polls two
            await asyncio.sleep(0.05)


async def test_a_snapshot_then_what_is_committed_after_it(tables: str) -> None:
    now_s = int(time.time())
    async with dashboard(tables) as running, writer(tables) as stream, running.live() as client:
        await stream.commit([Sample(kpi="feedback_received", area="01", time_s=now_s, dim="road")])
        await say(client, op="subscribe", kpis=["feedback_received"], areas=["00", "01"], tier="day", points=3)
        snapshot = await hear(client, "snapshot")
        assert snapshot["reason"] is None
        assert [series["area"] for series in snapshot["series"]] == ["00", "01"]
        assert [point["value"] for point in snapshot["series"][0]["points"]] == [0, 0, 1]
        assert snapshot["series"][0]["last_minute"] == now_s // 60 * 60

        await stream.commit(
            [Sample(kpi="feedback_received", area="01", time_s=now_s, dim="light")], [Report(id="r1", area="01")]
        )
        change = await hear(client, "change")
        assert {(v["area"], v["value"]) for v in change["values"]} == {("00", 2), ("01", 2)}
        assert [event["event"]["id"] for event in change["events"]] == ["r1"]
        assert [source["id"] for source in change["sources"]] == ["hotline"]
        heartbeat = await hear(client, "heartbeat")
        assert heartbeat["feed"]["state"] == "live"
        assert _position(heartbeat["position"]) >= _position(change["position"])


async def test_a_change_waits_for_an_older_transaction_and_then_comes_in_order(tables: str) -> None:
    now_s = int(time.time())
    async with (
        dashboard(tables) as running,
        writer(tables, 1) as early,
        writer(tables, 2) as late,
        running.live() as client,
    ):
        await say(client, op="subscribe", kpis=["feedback_received"], tier="day", points=1)
        await hear(client, "snapshot")
        # The first row of a day makes a chunk, and others wait for that; only then is a commit out of order possible.
        await early.commit([Sample(kpi="feedback_received", area="01", time_s=now_s)])
        assert (await hear(client, "change"))["values"][0]["value"] == 1
        transaction = early.connection.transaction()
        await transaction.start()
        await early.write([Sample(kpi="feedback_received", area="01", time_s=now_s)], [Report(id="early", area="01")])
        await late.commit([Sample(kpi="feedback_received", area="02", time_s=now_s)], [Report(id="late", area="02")])
        beats = [await hear(client, "heartbeat", "change") for _ in range(2)]
        assert [beat["op"] for beat in beats] == ["heartbeat", "heartbeat"], "told of what might be overtaken"
        await transaction.commit()
        change = await hear(client, "change")
        assert [event["event"]["id"] for event in change["events"]] == ["early", "late"]
        assert change["values"][0]["value"] == 3


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_client_that_comes_and_goes_ends_with_what_the_database_holds(tables: str, seed: int) -> None:
    choose = random.Random(seed)
    now_s = int(time.time()) // 60 * 60
    ids: set[str] = set()

    async with writer(tables) as first:
        # Every chunk is there before the streams begin, for its making would keep them in order.
        await first.commit([Sample(kpi=KPIS[0], area="00", time_s=now_s - back * 60) for back in range(0, 41, 5)])

    async def stream(shard: int) -> None:
        async with writer(tables, shard) as one:
            for number in range(40):
                samples = [
                    Sample(
                        kpi=choose.choice(KPIS),
                        area=choose.choice(AREAS),
                        time_s=now_s - choose.randrange(40) * 60,
                        value=choose.random() * 100,
                    )
                    for _ in range(choose.randrange(1, 4))
                ]
                id_ = f"{shard}-{number}"
                transaction = one.connection.transaction()
                await transaction.start()
                await one.write(samples, [Report(id=id_, area=choose.choice(AREAS))])
                await asyncio.sleep(choose.random() * 0.05)
                if choose.random() < 0.1:
                    await transaction.rollback()
                else:
                    await transaction.commit()
                    ids.add(id_)

    async with dashboard(tables) as running:
        board, done = Board(), asyncio.Event()

        async def come_and_go() -> None:
            while not done.is_set():
                gone = asyncio.Event()
                asyncio.get_running_loop().call_later(choose.random() * 0.4, gone.set)
                await follow(running, board, gone)
                await asyncio.sleep(choose.random() * 0.1)

        client = asyncio.create_task(come_and_go())
        await asyncio.gather(*(stream(shard) for shard in range(4)))
        done.set()
        await client
        stop = asyncio.Event()
        last = asyncio.create_task(follow(running, board, stop))
        await until_equal(tables, board, ids)
        stop.set()
        await last
        assert len(board.event_ids) == len(ids)
        assert len(board.snapshots) <= 2, "a position that is kept needs no snapshot"


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        pytest.param(lambda p: f"{p.epoch + 1}-{p.xid}", "epoch_changed", id="another epoch"),
        pytest.param(lambda p: f"{p.epoch}-{p.xid + 1_000_000}", "epoch_changed", id="ahead of the database"),
        pytest.param(lambda p: f"{p.epoch}-1", "position_too_old", id="before every change row"),
    ],
)
async def test_a_position_that_cannot_be_resumed_gets_a_snapshot_with_the_reason(
    tables: str, position: Any, reason: str
) -> None:
    async with dashboard(tables) as running, writer(tables) as stream, running.live() as client:
        await stream.commit([Sample(kpi="feedback_received", area="01", time_s=int(time.time()))])
        await say(client, op="subscribe", points=2)
        first = await hear(client, "snapshot")
        await say(client, op="subscribe", points=2, position=position(_position(first["position"])))
        assert (await hear(client, "snapshot", "change"))["reason"] == reason


async def test_a_position_that_is_kept_resumes_without_a_snapshot(tables: str) -> None:
    now_s = int(time.time())
    async with dashboard(tables) as running, writer(tables) as stream:
        await stream.commit([Sample(kpi="feedback_received", area="01", time_s=now_s)])
        async with running.live() as client:
            await say(client, op="subscribe", kpis=KPIS, tier="day", points=2)
            position = (await hear(client, "snapshot"))["position"]
        await stream.commit(
            [Sample(kpi="feedback_received", area="01", time_s=now_s)], [Report(id="missed", area="02")]
        )
        async with running.live() as client:
            await say(client, op="subscribe", kpis=KPIS, tier="day", points=2, position=position)
            change = await hear(client, "snapshot", "change")
            assert change["op"] == "change"
            assert change["resumed"] is True
            assert [event["event"]["id"] for event in change["events"]] == ["missed"]
            assert [value["value"] for value in change["values"]] == [2]


async def test_a_restore_from_a_backup_gives_every_client_a_new_snapshot(tables: str) -> None:
    async with dashboard(tables) as running, writer(tables) as stream, running.live() as client:
        await say(client, op="subscribe", points=2)
        await hear(client, "snapshot")
        await stream.connection.execute("UPDATE feed SET epoch = epoch + 1")
        snapshot = await hear(client, "snapshot", "change")
        assert snapshot["reason"] == "epoch_changed"
        assert _position(snapshot["position"]).epoch == 2


async def test_a_change_row_of_another_version_gives_a_snapshot_rather_than_silence(tables: str) -> None:
    async with dashboard(tables) as running, writer(tables) as stream, running.live() as client:
        await say(client, op="subscribe", points=2)
        await hear(client, "snapshot")
        await stream.connection.execute("INSERT INTO change (touched) VALUES ('not what it was')")
        assert (await hear(client, "snapshot", "change"))["reason"] == "unreadable_change"


async def test_an_error_while_telling_gives_a_snapshot_rather_than_a_gap(
    tables: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = Hub.publish

    def fails_once(hub: Hub, batch: Batch, _: float) -> Collection[Part]:
        monkeypatch.setattr(Hub, "publish", publish)
        hub.position = batch.position
        raise ValueError("somebody could not be told")

    async with dashboard(tables) as running, writer(tables) as stream, running.live() as client:
        await say(client, op="subscribe", kpis=KPIS, areas=AREAS, points=2)
        await hear(client, "snapshot")
        monkeypatch.setattr(Hub, "publish", fails_once)
        await stream.commit([Sample(kpi=KPIS[0], area="01", time_s=int(time.time()))])
        assert (await hear(client, "snapshot", "change"))["reason"] == "unreadable_change"


async def test_a_slow_reader_slows_nobody_and_gets_the_newest_in_the_end(tables: str) -> None:
    now_s = int(time.time()) // 60 * 60
    samples = [
        Sample(kpi=kpi, area=area, time_s=now_s - back * 60)
        for kpi in KPIS
        for area in ["01", "02", "03"]
        for back in range(40)
    ]
    async with (
        dashboard(tables) as running,
        writer(tables) as stream,
        running.live(max_queue=1) as slow,
        running.live() as quick,
    ):
        for client in (slow, quick):
            await say(client, op="subscribe", kpis=KPIS, areas=AREAS, points=50, events=0)
        await hear(quick, "snapshot")
        # The slow one reads nothing while some megabytes of values pass by, more than its socket can hold.
        waits_s: list[float] = []
        for total in range(1, 16):
            await stream.commit(samples)
            started_s = time.monotonic()
            async with asyncio.timeout(WAIT_S):
                while (await hear(quick, "change"))["values"][0]["n"] < total:
                    pass
            waits_s.append(time.monotonic() - started_s)
        assert sorted(waits_s)[len(waits_s) // 2] < 2.0
        board = Board()
        async with asyncio.timeout(WAIT_S):
            while board.shown() != await held(tables):
                board.read(msgspec.json.decode(await slow.recv()))


async def test_a_client_that_reads_nothing_at_all_is_told_why_it_is_closed(tables: str) -> None:
    now_s = int(time.time()) // 60 * 60
    samples = [Sample(kpi=kpi, area=a, time_s=now_s - b * 60) for kpi in KPIS for a in AREAS[1:] for b in range(50)]
    before = _closed_slow()
    async with (
        dashboard(tables, send_timeout_s=1.0) as running,
        writer(tables) as stream,
        running.live(max_queue=1) as stuck,
    ):
        await say(stuck, op="subscribe", kpis=KPIS, areas=AREAS, points=60, events=0)
        async with asyncio.timeout(60):
            closed = False
            while not closed:
                await stream.commit(samples)
                async with running.live() as probe:
                    await say(probe, op="subscribe", kpis=[], events=0, sources=False)
                    await hear(probe, "snapshot")
                closed = _closed_slow() > before
        with pytest.raises(ConnectionClosed) as caught:
            await _drain(stuck)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1013
        assert "reconnect with your position" in caught.value.rcvd.reason


async def _drain(client: ClientConnection) -> None:
    async with asyncio.timeout(WAIT_S):
        while True:
            await client.recv()


def _closed_slow() -> float:
    return REGISTRY.get_sample_value("ioc_dashboard_closed_slow_clients_total") or 0.0


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        pytest.param('{"op":"subscribe","kpis":["x"]}', "kpis[0]", "unknown_kpi", id="text"),
        pytest.param(b"\x00\x01", "$", "malformed", id="binary"),
    ],
)
async def test_a_bad_message_is_answered_and_the_subscription_goes_on(
    tables: str, text: str | bytes, field: str, reason: str
) -> None:
    async with dashboard(tables) as running, writer(tables) as stream, running.live() as client:
        await say(client, op="subscribe", kpis=["feedback_received"], tier="day", points=1)
        await hear(client, "snapshot")
        await client.send(text)
        error = await hear(client, "error")
        assert (error["field"], error["reason"]) == (field, reason)
        assert error["detail"]
        assert error["fix"]
        await stream.commit([Sample(kpi="feedback_received", area="01", time_s=int(time.time()))])
        assert (await hear(client, "change"))["values"][0]["value"] == 1


async def test_too_large_a_subscription_is_refused_with_its_bound(tables: str) -> None:
    async with dashboard(tables, series_max=2, values_max=100) as running, running.live() as client:
        await say(client, op="subscribe", kpis=KPIS, areas=AREAS)
        error = await hear(client, "error")
        assert (error["field"], error["reason"]) == ("areas", "too_many")
        assert "at most 2 series" in error["fix"]
        await say(client, op="subscribe", kpis=KPIS[:2], points=51)
        assert (await hear(client, "error"))["field"] == "points"


async def test_one_client_too_many_is_told_so(tables: str) -> None:
    async with dashboard(tables, clients_max=1) as running, running.live() as first:
        await hear(first, "heartbeat")
        async with running.live() as second:
            with pytest.raises(ConnectionClosed) as caught:
                await second.recv()
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason[:21]) == (1013, "too many live clients")


async def test_a_page_of_another_origin_may_not_listen(tables: str) -> None:
    async with dashboard(tables) as running:
        with pytest.raises(InvalidStatus, match="403"):
            async with running.live(origin="https://elsewhere.example"):
                pass
        async with running.live(origin=f"http://{running.address}") as client:
            await hear(client, "heartbeat")


async def test_what_is_computed_is_told_for_every_bucket_that_it_changes(tables: str) -> None:
    now_s = int(time.time())
    shown = ["in_handling", "cameras_silent", "closed_share"]
    async with dashboard(tables) as running, writer(tables) as stream, running.live() as client:
        await stream.commit([Sample(kpi="feedback_received", area="01", time_s=now_s - 30 * DAY_S)])
        await say(client, op="subscribe", kpis=shown, tier="day", points=3)
        snapshot = await hear(client, "snapshot")
        points = {series["kpi"]: [point["value"] for point in series["points"]] for series in snapshot["series"]}
        assert points == {"in_handling": [1, 1, 1], "cameras_silent": [0, 0, 0], "closed_share": [None, None, None]}
        await stream.commit(
            [
                Sample(kpi="feedback_closed", area="01", time_s=now_s - DAY_S),
                Sample(kpi="feedback_received", area="02", time_s=now_s - DAY_S),
                Sample(kpi="feedback_received", area="02", time_s=now_s - DAY_S),
                Sample(kpi="cameras_active", area="02", time_s=now_s - DAY_S, what="c"),
            ]
        )
        change = await hear(client, "change")
        values = sorted((value["kpi"], value["bucket"], value["value"]) for value in change["values"])
        assert [(kpi, value) for kpi, _, value in values] == [
            ("cameras_silent", 0),
            ("cameras_silent", 1),
            ("closed_share", 0.5),
            ("in_handling", 2),
            ("in_handling", 2),
        ]
        assert (await snapshot_of(running, shown))["in_handling"] == [1, 2, 2]


async def snapshot_of(running: Running, kpis: list[str]) -> dict[str, list[float | None]]:
    """What a new board shows of the root, day by day."""
    async with running.live() as client:
        await say(client, op="subscribe", kpis=kpis, tier="day", points=3)
        found = await hear(client, "snapshot")
        return {series["kpi"]: [point["value"] for point in series["points"]] for series in found["series"]}


async def test_a_correction_is_told_with_what_was_first_reported(tables: str) -> None:
    hour_s = int(time.time()) // 3600 * 3600 - 3600
    async with dashboard(tables) as running, writer(tables) as stream, running.live() as client:
        await stream.commit([Sample(kpi="feedback_received", area="01", time_s=hour_s)])
        await stream.close_until(hour_s + 3600)
        await say(client, op="subscribe", kpis=["feedback_received"], tier="hour", points=2)
        assert "first" not in (await hear(client, "snapshot"))["series"][0]["points"][0]
        await stream.commit([Sample(kpi="feedback_received", area="01", time_s=hour_s)], late=True)
        [value] = (await hear(client, "change"))["values"]
        assert (value["value"], value["first"]) == (2, {"value": 1, "n": 1})
        assert value["corrected_at"]


async def test_after_a_reload_every_client_gets_a_snapshot(tables: str) -> None:
    async with dashboard(tables) as running, writer(tables) as stream, running.live() as client:
        await stream.commit([Sample(kpi="feedback_received", area="01", time_s=int(time.time()))])
        await say(client, op="subscribe", kpis=KPIS, tier="day", points=2)
        position = (await hear(client, "snapshot"))["position"]
        await stream.tell({"reload": True})
        assert (await hear(client, "snapshot", "change"))["reason"] == "reload"
        await say(client, op="subscribe", kpis=KPIS, tier="day", points=2, position=position)
        assert (await hear(client, "snapshot", "change"))["reason"] == "reload"


def test_the_test_site_has_a_kpi_of_each_measure() -> None:
    assert {kpi.measure for kpi in site().kpis.kpis} == set(Measure)
