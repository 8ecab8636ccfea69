"""How is one recorded file played from where it stands to its end, and what is said about it?"""

from datetime import timedelta
from pathlib import Path

from msgspec import Struct

from deploy.local.manifest import sha256_of
from deploy.replay.clock import Clock
from deploy.replay.display import moving
from deploy.replay.player import Progress, Step, in_time_order, play_steps
from deploy.replay.position import Position, PositionFile
from deploy.replay.recorded_file import Recorded, RecordingError, Unmapped, read_recording
from deploy.replay.sender import EventSender, Say
from deploy.replay.timeline import plan
from ingest.decode.recording import RecordingMapping

TOLD_MAX = 5  # unmapped rows, and rejected events, that are named one by one; all are counted
RECORDING_EVENTS_MAX = 1_000_000  # they are put in order in memory, about 1 kB each; a longer file has to be split


class Options(Struct, frozen=True, kw_only=True):
    """How a file is played. `speed` None is as fast as it is taken; `target` is a centre other than the own one."""

    speed: float | None
    shifted: bool
    lead: timedelta
    limit: int | None
    restart: bool
    target: str | None


class Reading(Struct, frozen=True):
    """A file as it lies in memory: its events in the order of time, and what gave none."""

    file: Path
    mapping: RecordingMapping | None
    steps: list[Step]
    unmapped: int
    left_out: int
    first_unmapped: list[Unmapped]


class Outcome(Struct, frozen=True):
    """What came of a replay that went to its end."""

    sent: int
    rejected: int
    unmapped: int


def read_all(file: Path, mapping: RecordingMapping | None) -> Reading:
    """Reads a whole file and puts its events in order. Raises RecordingError."""
    found: list[Recorded] = []
    first_unmapped: list[Unmapped] = []
    unmapped = left_out = 0
    for row in read_recording(file, mapping):
        if isinstance(row, Recorded):
            found.append(row)
            if len(found) > RECORDING_EVENTS_MAX:
                reason = f"the file holds more than {RECORDING_EVENTS_MAX} events"
                raise RecordingError(file, f"line {row.line}", reason, "Split it by time and play the parts in turn.")
        elif row.left_out:
            left_out += 1
        else:
            unmapped += 1
            if len(first_unmapped) < TOLD_MAX:
                first_unmapped.append(row)
    return Reading(file, mapping, in_time_order(found), unmapped, left_out, first_unmapped)


def tell_unmapped(reading: Reading, say: Say) -> None:
    """Names the first rows that give no event, and counts them all."""
    file = reading.file
    for row in reading.first_unmapped:
        say(f"{file.name}, line {row.line}: no event: {row.reason}")
    if reading.unmapped:
        say(f"{file.name}: {reading.unmapped} rows give no event; the first {len(reading.first_unmapped)} are above.")
    if reading.left_out:
        say(f"{file.name}: {reading.left_out} rows are left out by the mapping.")


async def replay_file(
    reading: Reading, options: Options, data_dir: Path, sender: EventSender, clock: Clock, say: Say
) -> Outcome:
    """Plays the file from its stored position on. Raises RecordingError or Refused."""
    file, mapping = reading.file, reading.mapping
    steps = reading.steps[: options.limit]
    if not steps:
        raise RecordingError(file, "the file", "it gives no events", "Correct its mapping or choose one with --as.")

    identity = (sha256_of(file), mapping, options.speed, options.shifted, options.lead, options.limit, options.target)
    stored = PositionFile(Position, data_dir, file.name, *identity)
    position = None if options.restart else stored.read()
    if position is None or position.sent > len(steps):
        first, last = steps[0].time, steps[-1].time
        play = plan(first, last, clock.now(), speed=options.speed, shifted=options.shifted, lead=options.lead)
        position = Position(play=play)
        # Before the first event goes out: a run that ends between the two must not leave its anchor unknown.
        stored.write(position)
    elif position.sent:
        say(f"{file.name}: going on after {position.sent} events; --restart begins anew.")

    told = 0
    with moving(file.name, position.sent, len(steps)) as show:

        def acknowledged(progress: Progress) -> None:
            nonlocal told
            stored.write(progress.position)
            show(progress.position.sent)
            for line, rejection in progress.rejected[: TOLD_MAX - told]:
                told += 1
                say(f"{file.name}, line {line}: rejected: {rejection.as_line()}")

        position = await play_steps(steps, position, sender, clock, acknowledged)
    # A play that is over leaves no position: the same command plays the file once more.
    stored.forget()
    return Outcome(position.sent, position.rejected, reading.unmapped)
