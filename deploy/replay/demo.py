"""What does a centre show before anyone is connected to it?

The site pack's demo: recordings played over and over, and simulated cameras. Each feed keeps its own position, so
that a restart goes on with the same play, catches up on what it missed, and counts nothing twice.
"""

import asyncio
import tomllib
from collections.abc import Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from deploy.local.manifest import sha256_of
from deploy.replay.clock import Clock
from deploy.replay.player import VOLLEY_EVENTS_MAX, Progress, Step, in_time_order, lane_of, play_steps, send_volley
from deploy.replay.position import Position, PositionFile
from deploy.replay.recorded_file import Recorded, load_mappings, read_recording
from deploy.replay.sender import EventSender, Say
from deploy.replay.simulated_cameras import CameraModel, one_second, whole_second
from deploy.replay.timeline import SPEED_MAX, SPEED_MIN, follow, plan
from deploy.site import read_text
from schemas.errors import SiteError
from schemas.site import Site
from schemas.topics import key_of

DEMO_FOLDER = "demo"
DEMO_FILE = "demo.toml"
CAMERAS_FEED = "cameras"
REJECTIONS_TOLD_MAX = 3  # of each feed; a demo runs for days, and a wrong mapping would fill its log
_SECOND = timedelta(seconds=1)


class DemoRecording(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A recorded file of the demo folder, and how it is played. Events from `until` on are left out."""

    name: str
    file: str
    mapping: str
    speed: float
    lead_s: int
    until: datetime | None = None


class DemoContent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `demo.toml`."""

    recording: list[DemoRecording] = []
    cameras: CameraModel | None = None


class CameraPosition(Struct, frozen=True):
    """The first second that the centre has not acknowledged."""

    next_at: datetime


class LoadedRecording(Struct, frozen=True):
    """A demo recording as it lies in memory, and what identifies it."""

    settings: DemoRecording
    steps: list[Step]
    content: str


class Demo(Struct, frozen=True):
    """All feeds of a site's demo, read and checked."""

    recordings: list[LoadedRecording]
    cameras: CameraModel | None
    zone: ZoneInfo


def load_demo(site_folder: Path, site: Site) -> Demo:
    """Reads the site pack's demo. Raises SiteError or RecordingError."""
    folder = site_folder / DEMO_FOLDER
    file = folder / DEMO_FILE
    try:
        content = msgspec.convert(tomllib.loads(read_text(file)), DemoContent)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SiteError(str(file), "TOML", str(error), "See docs/demo-data.md.") from error
    mappings = load_mappings(site_folder, site)
    loaded: list[LoadedRecording] = []
    for recording in content.recording:
        where = f"recording {recording.name!r}"
        if recording.mapping not in mappings:
            raise SiteError(str(file), where, f"there is no mapping {recording.mapping!r}", "Correct its name.")
        if not SPEED_MIN <= recording.speed <= SPEED_MAX:
            fix = f"Use {SPEED_MIN} to {SPEED_MAX:.0f}."
            raise SiteError(str(file), where, f"speed {recording.speed} is out of range", fix)
        if recording.until is not None and recording.until.tzinfo is None:
            raise SiteError(str(file), where, "`until` has no zone", "Append Z or an offset.")
        path = folder / recording.file
        found = [row for row in read_recording(path, mappings[recording.mapping]) if isinstance(row, Recorded)]
        kept = [row for row in found if recording.until is None or row.event.time < recording.until]
        if not kept:
            raise SiteError(str(file), where, f"{recording.file} gives no events", "Correct its mapping or `until`.")
        loaded.append(LoadedRecording(recording, in_time_order(kept), sha256_of(path)))
    codes = {area.code for area in site.areas}
    for camera in content.cameras.camera if content.cameras else ():
        if camera.area not in codes:
            fix = "Use a code of areas.csv."
            raise SiteError(str(file), f"camera {camera.id!r}", f"area {camera.area!r} is not known", fix)
    return Demo(loaded, content.cameras, ZoneInfo(site.header.zone))


async def play_demo(
    demo: Demo, data_dir: Path, target: str | None, sender: EventSender, clock: Clock, say: Say
) -> None:
    """Plays all feeds at once, until it is cancelled. `target` is a centre other than the data folder's own."""
    feeds: list[Coroutine[Any, Any, None]] = []
    for recording in demo.recordings:
        settings = recording.settings
        file = PositionFile(Position, data_dir, f"demo-{settings.name}", recording.content, settings, target)
        feeds.append(play_recording(recording, file, sender.for_feed(settings.name), clock, say))
    if demo.cameras:
        file = PositionFile(CameraPosition, data_dir, f"demo-{CAMERAS_FEED}", demo.cameras, target)
        feeds.append(play_cameras(demo.cameras, demo.zone, file, sender.for_feed(CAMERAS_FEED), clock, say))
    await asyncio.gather(*feeds)


async def play_recording(
    recording: LoadedRecording,
    file: PositionFile[Position],
    sender: EventSender,
    clock: Clock,
    say: Say,
) -> None:
    """Plays one recording for ever. Each run through it is a play of its own, where the one before ended."""
    steps, settings = recording.steps, recording.settings
    first, last = steps[0].time, steps[-1].time
    lead = timedelta(seconds=settings.lead_s)
    told = 0

    def acknowledged(progress: Progress) -> None:
        nonlocal told
        file.write(progress.position)
        for line, rejection in progress.rejected:
            if told < REJECTIONS_TOLD_MAX:
                told += 1
                say(f"{settings.file}, line {line}: {rejection.as_line()}")

    position = file.read()
    if position is None:
        play = plan(first, last, clock.now(), speed=settings.speed, shifted=True, lead=lead)
        position = Position(play=play)
        # Before the first event goes out: a run that ends between the two must not leave its anchor unknown.
        file.write(position)
    say(f"Demo feed {settings.name}: {len(steps)} events at {settings.speed:g} times their pace, over and over.")
    while True:
        position = await play_steps(steps, position, sender, clock, acknowledged)
        position = Position(play=follow(position.play, last, clock.now(), lead))
        file.write(position)


async def play_cameras(
    model: CameraModel,
    zone: ZoneInfo,
    file: PositionFile[CameraPosition],
    sender: EventSender,
    clock: Clock,
    say: Say,
) -> None:
    """Sends what the cameras see, second by second, for ever; after a pause, at most `lead_s` of it again."""
    say(
        f"Demo feed cameras: {len(model.camera)} SIMULATED cameras, about {model.detections_per_s:g} events a second."
    )
    lead = timedelta(seconds=model.lead_s)
    position = file.read()
    next_at = position.next_at if position else whole_second(clock.now() - lead)
    while True:
        now = clock.now()
        next_at = max(next_at, whole_second(now - lead))
        volley: list[tuple[int, bytes]] = []
        while next_at + _SECOND <= now and len(volley) < VOLLEY_EVENTS_MAX:
            events = one_second(model, next_at, zone)
            volley += [(lane_of(key_of(event)), msgspec.json.encode(event)) for event in events]
            next_at += _SECOND
        if volley:
            for _, rejection in (await send_volley(volley, sender))[:REJECTIONS_TOLD_MAX]:
                say(f"Simulated cameras: {rejection.as_line()}")
            file.write(CameraPosition(next_at))
        if (wait := next_at + _SECOND - clock.now()) > timedelta(0):
            await clock.sleep(wait.total_seconds())
