"""Does the demo go on for ever, and count nothing twice when it is started again?"""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import msgspec
import pytest

from deploy.replay.demo import Demo, load_demo, play_demo
from deploy.replay.sender import EventSender, poster
from deploy.replay.simulated_cameras import CameraModel, busyness, one_second
from deploy.site import load_site
from schemas.errors import SiteError
from schemas.event import CameraDetection
from tests.replay.jumping_clock import JumpingClock
from tests.replay.recorder import DROP_TAKEN, UNAVAILABLE, Recorder, recording

SITE = Path(__file__).parents[2] / "deploy" / "sites" / "boston"
ZONE = ZoneInfo("America/New_York")
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def demo() -> Demo:
    return load_demo(SITE, load_site(SITE))


def cameras_of(demo: Demo) -> CameraModel:
    assert demo.cameras is not None
    return demo.cameras


class EndingClock(JumpingClock):
    """Ends the play at its first wait from `end` on."""

    def __init__(self, start: datetime, end: datetime) -> None:
        super().__init__(start)
        self.end = end

    async def sleep(self, wait_s: float) -> None:
        """Jumps, or ends."""
        if self.now() >= self.end:
            raise asyncio.CancelledError
        await super().sleep(wait_s)


def feeds_of(demo: Demo) -> Iterator[Demo]:
    """The same demo, feed by feed: a clock that jumps for one must not jump for another that is sending."""
    for item in demo.recordings:
        yield msgspec.structs.replace(demo, recordings=[item], cameras=None)
    if demo.cameras:
        yield msgspec.structs.replace(demo, recordings=[])


async def play(demo: Demo, folder: Path, centre: Recorder, start: datetime, end: datetime) -> list[str]:
    """Plays each feed from `start` to `end` and returns what was said."""
    said: list[str] = []
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        for feed in feeds_of(demo):
            clock = EndingClock(start, end)
            sender = EventSender(poster(client, centre.url), clock, said.append)
            with pytest.raises(asyncio.CancelledError):
                await play_demo(feed, folder, None, sender, clock, said.append)
    return said


def by_source(events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        found.setdefault(event["source"], []).append(event)
    return found


async def test_a_new_centre_has_history_at_once_and_then_lives(demo: Demo, tmp_path: Path) -> None:
    async with recording() as centre:
        await play(demo, tmp_path, centre, START, START)
        history = by_source(centre.taken)
        assert set(history) == {source.id for source in load_site(SITE).header.source}
        reach = {source: START - min(map(moment, events)) for source, events in history.items()}
        assert reach["boston-311"] == timedelta(hours=5, minutes=52)
        assert reach["camera-simulated"] <= timedelta(minutes=30)
        assert all(moment(event) <= START for event in centre.taken)

        before = len(centre.taken)
        await play(demo, tmp_path, centre, START, START + timedelta(minutes=10))
        counts = {source: len(events) for source, events in by_source(centre.taken[before:]).items()}
        assert counts["boston-311"] >= 100
        assert counts["nab-cloudwatch"] >= 4 * 10 * 60 / 2.6
        assert 5 * 600 <= counts["camera-simulated"] <= 20 * 600


def moment(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["time"])


async def test_every_feed_begins_anew_with_new_names(demo: Demo, tmp_path: Path) -> None:
    short = msgspec.structs.replace(
        demo,
        recordings=[msgspec.structs.replace(item, steps=item.steps[:300]) for item in demo.recordings],
        cameras=None,
    )
    async with recording() as centre:
        await play(short, tmp_path, centre, START, START + timedelta(minutes=30))
    for events in by_source(centre.taken).values():
        assert len(events) > 600
        assert len({event["id"] for event in events}) == len(events)
        plays: dict[str, list[datetime]] = {}
        for event in events:
            plays.setdefault(event["id"].rpartition("@")[2], []).append(moment(event))
        assert len(plays) >= 2
        for before, after in pairwise(plays.values()):
            assert max(before) < min(after) <= max(before) + timedelta(seconds=1)


@pytest.mark.parametrize(
    "pause",
    [timedelta(seconds=3), timedelta(minutes=10), timedelta(days=3)],
    ids=["at once", "after a while", "after days"],
)
async def test_a_restart_counts_nothing_twice(demo: Demo, tmp_path: Path, pause: timedelta) -> None:
    middle = START + timedelta(minutes=2)
    async with recording() as centre:
        await play(demo, tmp_path, centre, START, middle)
        first = len(centre.taken)
        await play(demo, tmp_path, centre, middle + pause, middle + pause + timedelta(minutes=2))
    assert len(centre.taken) > first
    assert len({(event["source"], event["id"]) for event in centre.taken}) == len(centre.taken)
    starts = {event["id"].rpartition("@")[2] for event in by_source(centre.taken)["boston-311"]}
    assert len(starts) <= 2 if pause > timedelta(days=1) else len(starts) == 1


async def test_what_is_sent_again_is_the_same(demo: Demo, tmp_path: Path) -> None:
    async with recording((UNAVAILABLE, DROP_TAKEN) * 10) as centre:
        said = await play(demo, tmp_path, centre, START, START + timedelta(minutes=2))
    assert any("does not take events" in line for line in said)
    assert any("takes events again" in line for line in said)
    contents = {(event["source"], event["id"]): event for event in centre.taken}
    assert len(contents) < len(centre.taken)
    assert all(contents[event["source"], event["id"]] == event for event in centre.taken)


def test_a_second_is_the_same_whenever_it_is_made(demo: Demo) -> None:
    model = cameras_of(demo)
    seconds = [START + timedelta(seconds=n) for n in range(120)]
    made = [one_second(model, second, ZONE) for second in seconds]
    assert made == [one_second(model, second, ZONE) for second in seconds]
    events = [event for second in made for event in second]
    assert len({event.id for event in events}) == len(events)
    for second, found in zip(seconds, made, strict=True):
        assert [event.time for event in found] == sorted(event.time for event in found)
        assert all(second <= event.time < second + timedelta(seconds=1) for event in found)


def test_the_cameras_say_that_they_are_simulated(demo: Demo) -> None:
    model = cameras_of(demo)
    assert "simulated" in model.source
    assert all("simulated" in camera.id for camera in model.camera)
    (source,) = [source for source in load_site(SITE).header.source if source.id == model.source]
    assert source.simulated


def test_the_streets_have_a_rhythm(demo: Demo) -> None:
    midnight = datetime(2026, 3, 2, tzinfo=ZONE)
    day = [busyness(midnight + timedelta(minutes=m), ZONE) for m in range(24 * 60)]
    assert sum(day) / len(day) == pytest.approx(1, abs=0.02)
    night, rush = (
        sum(len(one_second(cameras_of(demo), begin + timedelta(seconds=n), ZONE)) for n in range(300)) / 300
        for begin in (midnight + timedelta(hours=3), midnight + timedelta(hours=17))
    )
    assert 3 < night < 8
    assert 15 < rush < 25


def test_what_is_simulated_can_be_read_by_the_centre(demo: Demo) -> None:
    areas = load_site(SITE).areas
    for n in range(3600):
        for event in one_second(cameras_of(demo), START + timedelta(seconds=n), ZONE):
            assert event.area in areas
            assert msgspec.json.decode(msgspec.json.encode(event), type=type(event)) == event
            if isinstance(event, CameraDetection):
                assert event.subject == event.data.camera


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        pytest.param("boston_311_sla", "absent", "no mapping 'absent'", id="mapping"),
        pytest.param("speed = 30", "speed = 0", "out of range", id="speed"),
        pytest.param("2011-09-12T04:00:00Z", "2011-09-12T04:00:00", "no zone", id="until without a zone"),
        pytest.param("2011-09-12T04:00:00Z", "1990-01-01T00:00:00Z", "gives no events", id="until too early"),
        pytest.param('area = "BOS-09"', 'area = "BOS-99"', "'BOS-99' is not known", id="camera's area"),
        pytest.param("seed = 311", "", "missing required field `seed`", id="no seed"),
        pytest.param("seed = 311", "seed = ", "Invalid value", id="syntax"),
    ],
)
def test_mistakes_in_a_demo(tmp_path: Path, old: str, new: str, reason: str) -> None:
    (tmp_path / "recordings").symlink_to(SITE / "recordings")
    (tmp_path / "demo").mkdir()
    for file in (SITE / "demo").glob("*.gz"):
        (tmp_path / "demo" / file.name).symlink_to(file)
    (tmp_path / "demo" / "demo.toml").write_text((SITE / "demo" / "demo.toml").read_text().replace(old, new))
    with pytest.raises(SiteError, match=reason):
        load_demo(tmp_path, load_site(SITE))


def test_a_site_without_a_demo(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="it does not exist"):
        load_demo(tmp_path, load_site(SITE))
