"""Which dead letters lie there, and what may an administrator see of them?

A letter may hold what somebody has said of themselves. Shown are the words by which the centre sorts events, numbers
and yes or no; of everything else only that it is there.
"""

import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from deploy.admin.database import reading
from deploy.redrive import Options, Outcome, redrive
from schemas.errors import InvalidEvent
from schemas.topics import DEAD
from streams.repair.history import Places, dependencies, log_reader, past
from streams.repair.letters import Judge, Letter, read_letters, read_redriven
from streams.store.writer import Lane

SHOWN_MAX = 200
"""Letters that are listed, the newest first; the groups count all."""

SHOWN_WORDS = frozenset(
    {"specversion", "type", "source", "id", "time", "area", "arealist", "place", "exercise", "receivedat", "subject"}
    | {"category", "channel", "kind", "severity", "agency", "indicator", "service", "procedure", "camera", "status"}
    | {"unit", "code", "opened_at", "closed_at", "due_at", "period_start", "period_end", "period"}
)
"""Members of an event whose texts are shown. All others may be somebody's words, name or number."""

SHOWN_CHARS_MAX = 120
LEFT_OUT = "…"

_DETAIL_CHARS_MAX = 300


class LetterView(Struct, frozen=True, kw_only=True):
    """A letter. `can_be_read`: sent again it would count now; else `problem` and `fix` say why not.

    `others` are the places of further copies of it. `event` is what of it may be shown.
    """

    partition: int
    offset: int
    origin: str
    reason: str
    at: datetime
    can_be_read: bool
    problem: str
    fix: str
    event: Any


class ReasonView(Struct, frozen=True, kw_only=True):
    """Letters of one reason."""

    reason: str
    count: int
    readable: int
    newest: datetime


class LettersView(Struct, frozen=True, kw_only=True):
    """All letters that were not sent again, by reason, and the newest of them."""

    total: int
    readable: int
    reasons: list[ReasonView]
    items: list[LetterView]


class Repaired(Struct, frozen=True):
    """A letter that somebody has put right: the event to be counted in its place."""

    partition: int
    offset: int
    event: msgspec.Raw


async def read_all(places: Places, now: datetime) -> LettersView:
    """What lies there. Raises OperatorError, DependencyUnavailable."""
    with dependencies():
        async with reading(places.database_url) as connection:
            judge = Judge((await past(connection, places)).newest.site)
            async with log_reader(places.kafka) as log:
                found = await read_letters(connection, log, places.topic_prefix, None, None)
    seen = [(letters[0], _wrong(letters[0], judge, now)) for letters in found]
    seen.sort(key=lambda one: one[0].logged_ms, reverse=True)
    reasons: dict[str, list[tuple[Letter, InvalidEvent | str | None]]] = {}
    for letter, wrong in seen:
        reasons.setdefault(letter.reason, []).append((letter, wrong))
    return LettersView(
        total=len(seen),
        readable=sum(wrong is None for _, wrong in seen),
        reasons=[
            ReasonView(
                reason=reason,
                count=len(those),
                readable=sum(wrong is None for _, wrong in those),
                newest=_time(those[0][0]),
            )
            for reason, those in sorted(reasons.items(), key=lambda one: -len(one[1]))
        ],
        items=[_view(letter, wrong) for letter, wrong in seen[:SHOWN_MAX]],
    )


async def count(places: Places) -> int:
    """How many letters lie there at most: records of the topic that were not sent again."""
    with dependencies():
        async with reading(places.database_url) as connection, log_reader(places.kafka) as log:
            lanes = [Lane(places.topic_prefix + DEAD.name, partition) for partition in range(DEAD.partitions)]
            begins, ends = await log.begins(lanes), await log.ends(lanes)
            done = await read_redriven(connection)
    kept = {lane.partition: begins[lane] for lane in lanes}
    gone = sum(offset >= kept.get(partition, 0) for partition, offset in done)
    return max(0, sum(ends[lane] - begins[lane] for lane in lanes) - gone)


async def send_again(places: Places, address: str, reason: str | None) -> Outcome:
    """Sends again whatever can be read now. Raises OperatorError, DependencyUnavailable."""
    return await redrive(places, address, Options(reason=reason))


async def send_repaired(places: Places, address: str, repaired: Repaired) -> Outcome:
    """Sends one letter as somebody has put it right. Raises OperatorError, DependencyUnavailable."""
    line = {"dead": {"partition": repaired.partition, "offset": repaired.offset}, "event": repaired.event}
    with tempfile.TemporaryDirectory(prefix="ioc-letter-") as folder:
        file = Path(folder) / "letter.ndjson"
        file.write_bytes(msgspec.json.format(msgspec.json.encode(line), indent=-1) + b"\n")
        return await redrive(places, address, Options(file=file))


def shown(value: bytes) -> Any:  # noqa: ANN401  # whatever JSON holds
    """What of an event may be shown; None of what is none."""
    try:
        event = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return _shown(cast("object", event), "") if isinstance(event, dict) else None


def _shown(value: object, name: str) -> object:
    if isinstance(value, dict):
        return {str(key)[:64]: _shown(one, str(key)) for key, one in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list):
        return [_shown(one, name) for one in cast("list[object]", value)[:20]]
    if isinstance(value, str):
        return value[:SHOWN_CHARS_MAX] if name in SHOWN_WORDS else LEFT_OUT
    return value


def _view(letter: Letter, wrong: InvalidEvent | str | None) -> LetterView:
    # What was wrong is told by the field; the words that were wrong may be somebody's.
    problem = "" if wrong is None else f"{wrong.field}: {wrong.reason}" if isinstance(wrong, InvalidEvent) else wrong
    return LetterView(
        partition=letter.partition,
        offset=letter.offset,
        origin=letter.origin,
        reason=letter.reason,
        at=_time(letter),
        can_be_read=wrong is None,
        problem=problem[:_DETAIL_CHARS_MAX],
        fix=wrong.fix[:_DETAIL_CHARS_MAX] if isinstance(wrong, InvalidEvent) else "",
        event=shown(letter.value),
    )


def _wrong(letter: Letter, judge: Judge, now: datetime) -> InvalidEvent | str | None:
    if not letter.is_whole:
        return "only its start was kept; ask its sender for it"
    return judge(letter.value, now.timestamp())


def _time(letter: Letter) -> datetime:
    return datetime.fromtimestamp(letter.logged_ms / 1000, UTC)
