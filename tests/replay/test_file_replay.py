"""Does every event of a file arrive, in order, at its time, whatever happens on the way?"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import pytest

from deploy.replay import sender
from deploy.replay.file_replay import Options, Outcome, read_all, replay_file, tell_unmapped
from deploy.replay.player import VOLLEY_EVENTS_MAX
from deploy.replay.recorded_file import RecordingError
from deploy.replay.sender import BATCH_BYTES_MAX, BATCH_EVENTS_MAX, EventSender, Refused, backoff_s, batches, poster
from ingest.decode import cloudevents
from ingest.gateway import answer, app, body
from schemas.errors import Reason
from schemas.event import EVENT_BYTES_MAX
from tests.replay.cases import write_cases
from tests.replay.jumping_clock import JumpingClock
from tests.replay.recorder import (
    DROP_TAKEN,
    DROP_UNREAD,
    OK,
    STALL,
    TOO_MANY,
    UNAVAILABLE,
    UNAVAILABLE_FOR_7_S,
    Recorder,
    recording,
)

FASTEST = Options(speed=None, shifted=False, lead=timedelta(0), limit=None, restart=False, target=None)
PACED = msgspec.structs.replace(FASTEST, speed=60.0, shifted=True)
SHIFTED = msgspec.structs.replace(FASTEST, shifted=True)


class Replays:
    """Runs replays of one data folder against one recorder."""

    def __init__(self, folder: Path, recorder: Recorder, client: httpx.AsyncClient) -> None:
        self.folder = folder
        self.clock = JumpingClock()
        self.said: list[str] = []
        self.sender = EventSender(poster(client, recorder.url), self.clock, self.said.append)

    async def run(self, file: Path, options: Options = FASTEST) -> Outcome:
        reading = read_all(file, None)
        tell_unmapped(reading, self.said.append)
        return await replay_file(reading, options, self.folder, self.sender, self.clock, self.said.append)

    def positions(self) -> list[Path]:
        return list((self.folder / "replay").glob("*"))


@asynccontextmanager
async def replays(folder: Path, recorder: Recorder) -> AsyncIterator[Replays]:
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        yield Replays(folder, recorder, client)


async def test_events_go_in_the_order_of_time(tmp_path: Path) -> None:
    async with recording() as centre, replays(tmp_path, centre) as player:
        outcome = await player.run(write_cases(tmp_path, 1500))
        assert outcome == Outcome(sent=3000, rejected=0, unmapped=0)
        assert len(centre.ids) == len(set(centre.ids)) == 3000
        numbers = {case.partition(".")[0]: ids for case, ids in centre.by_case().items()}
        assert all(ids == [f"{case}/received", f"{case}/closed"] for case, ids in numbers.items())
        assert max(centre.batches) <= BATCH_EVENTS_MAX
        # Lanes run side by side, so times may cross within a volley, but never between two.
        volleys = [
            [event["time"] for event in centre.taken[:VOLLEY_EVENTS_MAX]],
            [event["time"] for event in centre.taken[VOLLEY_EVENTS_MAX:]],
        ]
        assert max(volleys[0]) <= min(volleys[1])
        assert player.clock.slept_s == []
        assert player.positions() == []


@pytest.mark.parametrize(
    ("behaviour", "waits_s"),
    [
        pytest.param([UNAVAILABLE], [0.5], id="503"),
        pytest.param([UNAVAILABLE_FOR_7_S], [7.0], id="503 that says how long"),
        pytest.param([TOO_MANY, TOO_MANY], [0.5, 1.0], id="429 twice"),
        pytest.param([DROP_UNREAD], [0.5], id="connection lost before"),
        pytest.param([DROP_TAKEN], [0.5], id="connection lost after it was taken"),
        pytest.param([DROP_TAKEN, UNAVAILABLE_FOR_7_S, DROP_UNREAD, OK], [0.5, 7.0, 2.0], id="one after another"),
    ],
)
async def test_an_outage_is_waited_for(tmp_path: Path, behaviour: list[str], waits_s: list[float]) -> None:
    async with recording(behaviour) as centre, replays(tmp_path, centre) as player:
        outcome = await player.run(write_cases(tmp_path, 1))
        assert outcome.sent == 2
        assert list(dict.fromkeys(centre.ids)) == ["0/received", "0/closed"]
        assert player.clock.slept_s == waits_s
        away, back = player.said
        assert "does not take events now" in away
        assert "takes events again" in back
        assert "\n" not in away


async def test_many_outages_lose_nothing_and_keep_each_case_in_order(tmp_path: Path) -> None:
    bad = [OK, DROP_TAKEN, UNAVAILABLE, OK, DROP_UNREAD, DROP_TAKEN, OK, TOO_MANY] * 3
    async with recording(bad) as centre, replays(tmp_path, centre) as player:
        assert (await player.run(write_cases(tmp_path, 3000))).sent == 6000
        assert len(set(centre.ids)) == 6000
        numbers = {case.partition(".")[0]: ids for case, ids in centre.by_case().items()}
        assert all(ids == [f"{case}/received", f"{case}/closed"] for case, ids in numbers.items())


async def test_nobody_listens_at_first(tmp_path: Path) -> None:
    async with recording() as centre, httpx.AsyncClient(trust_env=False) as client:
        player = Replays(tmp_path, centre, client)
        url, attempts = centre.url, 0

        async def post(body: bytes) -> httpx.Response:
            nonlocal attempts
            attempts += 1
            # Port 1 is never listened on.
            return await poster(client, "http://127.0.0.1:1" if attempts < 4 else url)(body)

        player.sender = EventSender(post, player.clock, player.said.append)
        assert (await player.run(write_cases(tmp_path, 1))).sent == 2
        assert player.clock.slept_s == [0.5, 1.0, 2.0]
        assert len(player.said) == 2


async def test_rejected_events_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    refuse = {f"{number}/closed" for number in range(9)}
    async with recording(refuse=refuse) as centre, replays(tmp_path, centre) as player:
        outcome = await player.run(write_cases(tmp_path, 10))
        assert outcome == Outcome(sent=20, rejected=9, unmapped=0)
        assert len(centre.taken) == 11
        assert len(player.said) == 5
        assert player.said[0] == ("cases.ndjson, line 19: rejected: area: no such area (unknown_area). Correct it.")


async def test_rows_that_give_no_event_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    file = write_cases(tmp_path, 2)
    file.write_bytes(file.read_bytes() + b"\n{}" * 7)
    async with recording() as centre, replays(tmp_path, centre) as player:
        assert await player.run(file) == Outcome(sent=4, rejected=0, unmapped=7)
        assert [line.split(":")[0] for line in player.said[:5]] == [f"cases.ndjson, line {n}" for n in range(5, 10)]
        assert player.said[5] == "cases.ndjson: 7 rows give no event; the first 5 are above."


async def test_each_event_leaves_when_it_is_due(tmp_path: Path) -> None:
    due: list[timedelta] = []
    async with recording() as centre, replays(tmp_path, centre) as player:
        begun = player.clock.now()
        send = player.sender.send

        async def watched(batch: list[bytes]) -> object:
            now = player.clock.now()
            due.extend(now - datetime.fromisoformat(msgspec.json.decode(raw)["time"]) for raw in batch)
            return await send(batch)

        player.sender.send = watched  # type: ignore[method-assign]
        await player.run(write_cases(tmp_path, 5, every_s=600), PACED)
        # 40 minutes of cases and two hours to close the last, sixty times as fast.
        assert (player.clock.now() - begun).total_seconds() == pytest.approx(160, abs=1)
    assert len(due) == 10
    assert all(timedelta(0) <= late <= timedelta(seconds=1) for late in due)


async def test_a_lead_goes_out_at_once(tmp_path: Path) -> None:
    async with recording() as centre, replays(tmp_path, centre) as player:
        options = msgspec.structs.replace(PACED, lead=timedelta(seconds=130))
        waiting = asyncio.Event()
        player.clock.sleep = _stop_at_first_sleep(waiting)  # type: ignore[method-assign]
        task = asyncio.create_task(player.run(write_cases(tmp_path, 5, every_s=600), options))
        await waiting.wait()
        task.cancel()
        # 130 s at sixty times the pace are 130 minutes: all receptions and the first two closings.
        assert len(centre.ids) == 7
        assert max(event["time"] for event in centre.taken) <= "2026-03-01T12:00:00.000Z"


def _stop_at_first_sleep(reached: asyncio.Event) -> Callable[[float], Awaitable[None]]:
    async def sleep(wait_s: float) -> None:
        reached.set()
        await asyncio.Event().wait()

    return sleep


@pytest.mark.parametrize("options", [FASTEST, SHIFTED], ids=["kept", "shifted"])
async def test_a_replay_goes_on_where_it_was_cut_off(tmp_path: Path, options: Options) -> None:
    file = write_cases(tmp_path, 4000)
    # The third volley's first request hangs: the others of the volley are answered, none of it is acknowledged.
    async with recording([OK] * 8 + [STALL]) as centre, replays(tmp_path, centre) as player:
        task = asyncio.create_task(player.run(file, options))
        await centre.until_requests(12)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(player.positions()) == 1
        player.clock = JumpingClock(datetime(2026, 4, 1, tzinfo=UTC))
        outcome = await player.run(file, options)
        assert any("going on after 4000 events" in line for line in player.said)
        assert outcome.sent == 8000
        assert len(set(centre.ids)) == 8000, "the second run uses the first one's ids"
        assert len(centre.ids) == 8000 + VOLLEY_EVENTS_MAX, "only the unanswered volley came twice"
        times = {event["id"]: event["time"] for event in centre.taken[:6000]}
        assert all(times.get(event["id"], event["time"]) == event["time"] for event in centre.taken)
        assert player.positions() == []


@pytest.mark.parametrize(
    ("options", "distinct"),
    [
        pytest.param(FASTEST, 20, id="kept: counted once"),
        pytest.param(SHIFTED, 40, id="shifted: a second play"),
    ],
)
async def test_the_same_file_twice(tmp_path: Path, options: Options, distinct: int) -> None:
    file = write_cases(tmp_path, 10)
    async with recording() as centre, replays(tmp_path, centre) as player:
        await player.run(file, options)
        await player.clock.sleep(1)
        await player.run(file, options)
        assert len(centre.ids) == 40
        assert len(set(centre.ids)) == distinct


@pytest.mark.parametrize(
    ("change", "goes_on"),
    [
        pytest.param({}, True, id="the same command"),
        pytest.param({"restart": True}, False, id="--restart"),
        pytest.param({"shifted": True}, False, id="another option"),
        pytest.param({"target": "http://elsewhere"}, False, id="another centre"),
    ],
)
async def test_which_run_goes_on(tmp_path: Path, change: dict[str, object], goes_on: bool) -> None:
    file = write_cases(tmp_path, 2000)
    async with recording([OK] * 4 + [STALL] * 4) as centre, replays(tmp_path, centre) as player:
        task = asyncio.create_task(player.run(file))
        await centre.until_requests(8)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        before = len(centre.ids)
        await player.run(file, msgspec.structs.replace(FASTEST, **change))
        assert len(centre.ids) - before == (2000 if goes_on else 4000)


async def test_a_damaged_position_begins_anew(tmp_path: Path) -> None:
    file = write_cases(tmp_path, 2000)
    async with recording([OK] * 4 + [STALL] * 4) as centre, replays(tmp_path, centre) as player:
        task = asyncio.create_task(player.run(file))
        await centre.until_requests(8)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        (position,) = player.positions()
        position.write_text("{")
        assert (await player.run(file)).sent == 4000
        assert set(centre.ids) == {f"{n}/{step}" for n in range(2000) for step in ("received", "closed")}


async def test_limit_takes_the_earliest(tmp_path: Path) -> None:
    async with recording() as centre, replays(tmp_path, centre) as player:
        await player.run(write_cases(tmp_path, 5), msgspec.structs.replace(FASTEST, limit=2))
        assert sorted(centre.ids) == ["0/received", "1/received"]


async def test_a_file_without_events_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"{}\n")
    async with recording() as centre, replays(tmp_path, centre) as player:
        with pytest.raises(RecordingError, match="it gives no events"):
            await player.run(tmp_path / "a.ndjson")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(404, b"<h1>Not Found</h1>", id="no such address"),
        pytest.param(401, b'{"detail":"who are you?"}', id="not allowed"),
        pytest.param(202, b"<html>a proxy's page</html>", id="an answer that is none"),
    ],
)
async def test_a_refused_request_ends_the_replay(tmp_path: Path, status: int, body: bytes) -> None:
    async def post(sent: bytes) -> httpx.Response:
        return httpx.Response(status, content=body, request=httpx.Request("POST", "http://centre/v1/events"))

    sender = EventSender(post, JumpingClock(), lambda line: None)
    with pytest.raises(Refused, match=rf"http://centre/v1/events answered {status}"):
        await sender.send([b"{}"])


async def test_a_batch_that_is_refused_whole_is_counted(tmp_path: Path) -> None:
    answer = b'{"title":"Every event is refused","results":[{"index":0,"id":null,"status":"rejected","field":"id"}]}'

    async def post(sent: bytes) -> httpx.Response:
        return httpx.Response(422, content=answer, request=httpx.Request("POST", "http://centre/v1/events"))

    (refused,) = await EventSender(post, JumpingClock(), lambda line: None).send([b"{}"])
    assert (refused.index, refused.field) == (0, "id")


def test_the_centre_and_the_sender_mean_the_same() -> None:
    assert sender.EVENTS_PATH == app.EVENTS_PATH
    assert sender.BATCH_EVENTS_MAX <= cloudevents.BATCH_EVENTS_MAX
    # The brackets, and the largest event at the end.
    assert sender.BATCH_BYTES_MAX + EVENT_BYTES_MAX + 2 <= body.BODY_BYTES_MAX
    refused = answer.RejectedResult(0, None, "id", Reason.MISSING_FIELD, "the field is missing", "Add `id`.")
    said = answer.Results(1, 1, [refused, answer.AcceptedResult(1, "a")])
    first, second = msgspec.json.decode(msgspec.json.encode(said), type=sender.Answer).results
    assert (first.status, first.as_line()) == (sender.REJECTED, "id: the field is missing (missing_field). Add `id`.")
    assert second.status != sender.REJECTED


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([10] * BATCH_EVENTS_MAX, [BATCH_EVENTS_MAX], id="as many as fit"),
        pytest.param([10] * (BATCH_EVENTS_MAX + 1), [BATCH_EVENTS_MAX, 1], id="one more"),
        pytest.param([BATCH_BYTES_MAX // 2] * 3, [1, 1, 1], id="large ones, with their commas"),
        pytest.param([BATCH_BYTES_MAX * 2, 10], [1, 1], id="one beyond the bound goes alone"),
    ],
)
def test_batches(sizes: list[int], expected: list[int]) -> None:
    found = batches([b"x" * size for size in sizes])
    assert [len(batch) for batch in found] == expected
    assert [index for batch in found for index in batch] == list(range(len(sizes)))


@pytest.mark.parametrize(("failures", "wait_s"), [(1, 0.5), (2, 1.0), (5, 8.0), (6, 15.0), (10_000, 15.0)])
def test_backoff(failures: int, wait_s: float) -> None:
    assert backoff_s(failures) == wait_s
