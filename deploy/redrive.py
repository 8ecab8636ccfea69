"""How do dead letters get counted after all? `ioc redrive`

What the centre can read now is sent again through ingest, as it came and with its own id, so that it counts once
whatever ends the command: for ever on the topics of reports, within half an hour of detections. Commands, and what
else only the centre makes, go back to the log themselves. What it still cannot read is listed and exported; a file
that was put right is sent back.
"""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from deploy.local.progress import say
from deploy.log_writer import write
from deploy.replay.clock import SystemClock
from deploy.replay.sender import REQUEST_TIMEOUT_S, EventSender, batches, poster
from ingest.decode.cloudevents import Lot
from schemas import codec
from schemas.admission import is_own
from schemas.errors import InvalidEvent, OperatorError
from schemas.event import AnyEvent
from schemas.topics import key_of, topic_of
from streams.repair.history import Connection, Places, connected, dependencies, log_reader, past
from streams.repair.letters import REDRIVE, Judge, Letter, note_redriven, read_letters, read_redriven

SHOWN_MAX = 20
"""Letters that are listed one by one; --export writes all."""

Place = tuple[int, int]
"""Partition and offset on the dead-letter topic."""


class Options(Struct, frozen=True, kw_only=True):
    """What `ioc redrive` was asked to do."""

    reason: str | None = None
    since: datetime | None = None
    dry_run: bool = False
    export: Path | None = None
    file: Path | None = None


class Outcome(Struct, frozen=True):
    """Letters that were sent, or with a dry run could be, and those that the centre cannot read."""

    sent: int
    unreadable: int


class _Candidate(Struct, frozen=True):
    """The text of an event, the letters that it stands for, and how it is called in a list."""

    text: bytes
    places: list[Place]
    name: str
    letter: Letter | None = None


class _Dead(Struct, frozen=True):
    """Where a letter lies, and what was wrong with it. The centre reads back `partition` and `offset` alone."""

    partition: int
    offset: int
    origin: str = ""
    reason: str = ""
    detail: str = ""
    fix: str = ""
    others: list[Place] = []


_NOTHING = msgspec.Raw()


class _Line(Struct, frozen=True, omit_defaults=True):
    """A line of an exported file."""

    dead: _Dead
    event: msgspec.Raw = _NOTHING
    text: str | None = None


async def redrive(places: Places, address: str, options: Options) -> Outcome:
    """Lists, exports and sends. Raises OperatorError, DependencyUnavailable."""
    with dependencies():
        async with connected(places, REDRIVE) as connection:
            judge = Judge((await past(connection, places)).newest.site)
            if options.file is not None:
                candidates = await _not_sent(connection, _from_file(options.file))
            else:
                async with log_reader(places.kafka) as log:
                    found = await read_letters(connection, log, places.topic_prefix, options.since, options.reason)
                candidates = [_candidate(letters) for letters in found]
                _say_reasons(candidates)
            now_s = time.time()
            judged = [(one, _wrong(one, judge, now_s)) for one in candidates]
            unreadable = [(one, error) for one, error in judged if error is not None]
            readable = [one for one, error in judged if error is None]
            if not options.dry_run and readable:
                # What a file says may have been changed, and what only the centre makes is for nobody to change.
                own, others = ([], readable) if options.file is not None else _parted(readable)
                await _put_back(connection, places, own)
                unreadable += await _send(connection, address, others)
            _say_unreadable(unreadable)
            if options.export is not None:
                _export(options.export, unreadable)
            return Outcome(len(candidates) - len(unreadable), len(unreadable))


async def _send(
    connection: Connection, address: str, candidates: Sequence[_Candidate]
) -> list[tuple[_Candidate, InvalidEvent | str]]:
    """Sends events, and notes each batch when the centre has it. Returns what was refused."""
    refused: list[tuple[_Candidate, InvalidEvent | str]] = []
    async with httpx.AsyncClient(timeout=REQUEST_TIMEOUT_S, trust_env=False) as client:
        sender = EventSender(poster(client, address), SystemClock(), say)
        for indexes in batches([one.text for one in candidates]):
            batch = [candidates[index] for index in indexes]
            rejections = {result.index: result for result in await sender.send([one.text for one in batch])}
            refused += [(batch[index], result.as_line()) for index, result in rejections.items()]
            taken = [place for index, one in enumerate(batch) if index not in rejections for place in one.places]
            await note_redriven(connection, taken)
    return refused


def _parted(candidates: Sequence[_Candidate]) -> tuple[list[tuple[_Candidate, AnyEvent]], list[_Candidate]]:
    """What only the centre makes, with its event, and all else."""
    own: list[tuple[_Candidate, AnyEvent]] = []
    others: list[_Candidate] = []
    for one in candidates:
        event = codec.decode(one.text, codec.SEALED_BYTES_MAX)
        if is_own(event):
            own.append((one, event))
        else:
            others.append(one)
    return own, others


async def _put_back(connection: Connection, places: Places, own: Sequence[tuple[_Candidate, AnyEvent]]) -> None:
    """Writes commands, and what else the centre made, back to the log as they were: the door takes none of them."""
    if own:
        lots = [Lot(topic_of(event), key_of(event), [one.text]) for one, event in own]
        await write(places.kafka, places.topic_prefix, lots)
        await note_redriven(connection, [place for one, _ in own for place in one.places])


async def _not_sent(connection: Connection, candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Those of which no letter was sent again yet, for a file may be given twice."""
    done = await read_redriven(connection)
    left = [one for one in candidates if done.isdisjoint(one.places)]
    if len(left) < len(candidates):
        say(f"{len(candidates) - len(left)} were sent again before, and are left out.")
    return left


def _candidate(letters: Sequence[Letter]) -> _Candidate:
    first = letters[0]
    return _Candidate(first.value, [(one.partition, one.offset) for one in letters], first.origin, first)


def _wrong(candidate: _Candidate, judge: Judge, now_s: float) -> InvalidEvent | str | None:
    if candidate.letter is not None and not candidate.letter.is_whole:
        return "$: only its start was kept, and its topic does not hold it any more (too_large). Ask its sender."
    return judge(candidate.text, now_s)


def _say_reasons(candidates: Sequence[_Candidate]) -> None:
    reasons = Counter(one.letter.reason for one in candidates if one.letter is not None)
    for reason, count in reasons.most_common():
        say(f"{reason}: {count} dead {'letter' if count == 1 else 'letters'}")


def _say_unreadable(unreadable: Sequence[tuple[_Candidate, InvalidEvent | str]]) -> None:
    for one, error in unreadable[:SHOWN_MAX]:
        say(f"{one.name}: {error}")
    if len(unreadable) > SHOWN_MAX:
        say(f"… and {len(unreadable) - SHOWN_MAX} more; --export FILE writes all.")


def _export(file: Path, unreadable: Sequence[tuple[_Candidate, InvalidEvent | str]]) -> None:
    lines = [_line(one, error) for one, error in unreadable]
    try:
        file.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    except OSError as error:
        raise OperatorError(f"{file} cannot be written: {error.strerror}.", "Name another file.") from error
    say(f"{file}: {len(lines)} letters written. Put them right there, then `ioc redrive {file}`.")


def _line(one: _Candidate, error: InvalidEvent | str) -> _Line:
    (partition, offset), *others = one.places
    is_invalid = isinstance(error, InvalidEvent)
    dead = _Dead(
        partition=partition,
        offset=offset,
        origin=one.name,
        reason=error.reason.value if is_invalid else "",
        detail=f"{error.field}: {error.detail}" if is_invalid else error,
        fix=error.fix if is_invalid else "",
        others=others,
    )
    try:
        value: Any = msgspec.json.decode(one.text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = None
    if isinstance(value, dict):
        # The sender's own text, but in one line.
        return _Line(dead, event=msgspec.Raw(msgspec.json.format(one.text, indent=-1)))
    return _Line(dead, text=one.text.decode("utf-8", "replace"))


def _from_file(file: Path) -> list[_Candidate]:
    """The events of an exported file. Raises OperatorError with the line."""
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise OperatorError(f"{file} cannot be read: {error.strerror}.", "Name a file of --export.") from error
    found: list[_Candidate] = []
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = msgspec.json.decode(text, type=_Line)
        except msgspec.DecodeError as error:
            raise OperatorError(
                f"{file}: line {number}: {error}.", 'Each line is {"dead": …, "event": …}, as --export wrote it.'
            ) from error
        event = bytes(line.event) or (line.text or "").encode()
        places = [(line.dead.partition, line.dead.offset), *line.dead.others]
        found.append(_Candidate(event, places, f"{file.name}: line {number}"))
    return found
