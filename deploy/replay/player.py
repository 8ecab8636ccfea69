"""Which events go out next, and when?

Events go in time order, in *volleys*: what is due by now, up to a bound. Within a volley several requests are under
way at once; all events of one key (a case, or a source) are in one lane, and a lane's requests follow each other. The
next volley waits for the whole of this one, so the order of a key is the order of time.
"""

import asyncio
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from deploy.replay.clock import Clock
from deploy.replay.position import Position
from deploy.replay.recorded_file import Recorded
from deploy.replay.sender import BATCH_EVENTS_MAX, EventSender, Result, batches
from deploy.replay.timeline import Play, play_ms, retime
from schemas.topics import key_of

LANES = 4
VOLLEY_EVENTS_MAX = LANES * BATCH_EVENTS_MAX  # more wait for the next volley
GATHER_S = 0.2  # due events are gathered for this long, so that a dense recording is not one request an event


class Step(Struct, frozen=True):
    """One event as it waits to be played; `line` is where the file has it."""

    time: datetime
    lane: int
    line: int
    raw: bytes


class Progress(Struct, frozen=True):
    """What is told after each volley: the position, and what this volley had refused, by line of the file."""

    position: Position
    rejected: list[tuple[int, Result]]


def in_time_order(recorded: Iterable[Recorded]) -> list[Step]:
    """The play's order: by time, and as the file has it where times are equal."""
    steps = [Step(item.event.time, lane_of(key_of(item.event)), item.line, item.raw) for item in recorded]
    steps.sort(key=lambda step: step.time)
    return steps


def lane_of(key: bytes) -> int:
    """The lane that carries all events of this key."""
    return zlib.crc32(key) % LANES


async def play_steps(
    steps: Sequence[Step],
    position: Position,
    sender: EventSender,
    clock: Clock,
    acknowledged: Callable[[Progress], None],
) -> Position:
    """Plays what lies behind `position` and returns the last one; each volley's is told before the next is sent."""
    play = position.play
    while position.sent < len(steps):
        end = due_end(steps, position.sent, play, clock.now())
        if end == position.sent:
            due_ms = play_ms(play, steps[end].time)
            await clock.sleep(max(due_ms / 1000 - clock.now().timestamp(), 0.0) + GATHER_S)
            continue
        volley = steps[position.sent : end]
        rejected = await send_volley([(step.lane, retime(play, step.raw)) for step in volley], sender)
        position = Position(play=play, sent=end, rejected=position.rejected + len(rejected))
        acknowledged(Progress(position, [(volley[at].line, rejection) for at, rejection in rejected]))
    return position


def due_end(steps: Sequence[Step], start: int, play: Play, now: datetime) -> int:
    """The end of the volley that begins at `start`: what is due at `now`, up to the bound."""
    bound = min(start + VOLLEY_EVENTS_MAX, len(steps))
    if not play.paced:
        return bound
    now_ms = int(now.astimezone(UTC).timestamp() * 1000)
    return bisect_right(steps, now_ms, lo=start, hi=bound, key=lambda step: play_ms(play, step.time))


async def send_volley(events: Sequence[tuple[int, bytes]], sender: EventSender) -> list[tuple[int, Result]]:
    """Sends (lane, event) pairs; returns what was refused with its index among them."""
    lanes: dict[int, list[int]] = {}
    for at, (lane, _) in enumerate(events):
        lanes.setdefault(lane, []).append(at)

    async def run(members: Sequence[int]) -> list[tuple[int, Result]]:
        refused: list[tuple[int, Result]] = []
        for batch in batches([events[at][1] for at in members]):
            answer = await sender.send([events[members[at]][1] for at in batch])
            refused += [(members[batch[r.index]], r) for r in answer if 0 <= r.index < len(batch)]
        return refused

    answers = await asyncio.gather(*(run(members) for members in lanes.values()))
    return sorted((item for answer in answers for item in answer), key=lambda item: item[0])
