"""What lies on the dead-letter topic, and can it be read now?"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from schemas.admission import check_event
from schemas.codec import SEALED_BYTES_MAX, decode
from schemas.errors import InvalidEvent
from schemas.location import Locator
from schemas.site import Site
from schemas.topics import DEAD
from streams.repair.history import SQL, Connection, CutShort, LogReader
from streams.store.writer import Lane

REDRIVE = 0x10C0_4ED4
"""The advisory lock of whoever sends dead letters again."""


class Letter(Struct, frozen=True, kw_only=True):
    """A record that could not be counted. `partition` and `offset` are its place on the dead-letter topic.

    `origin` is where it stood, as topic/partition/offset; `reason` and `detail` say what was wrong with it then. Of a
    record that was too long to be kept, and that its topic does not hold any more, `value` is only the start.
    """

    partition: int
    offset: int
    origin: str
    reason: str
    detail: str
    logged_ms: int
    value: bytes
    is_whole: bool = True


class Judge:
    """Whether the centre could read a letter now. Stateless."""

    def __init__(self, site: Site) -> None:
        self._locate = Locator(site.areas)
        self._future_max_s = site.header.future_max_s

    def __call__(self, value: bytes, now_s: float) -> InvalidEvent | None:
        """What is wrong with an event's text; None when it can be counted."""
        try:
            event = decode(value, SEALED_BYTES_MAX)
            check_event(event, now_s, self._future_max_s)
            self._locate(event)
        except InvalidEvent as error:
            return error
        return None


async def read_letters(
    connection: Connection, log: LogReader, prefix: str, since: datetime | None, reason: str | None
) -> list[list[Letter]]:
    """The letters that were not sent again yet, in order; those of one record together (a crash buries twice)."""
    lanes = [Lane(prefix + DEAD.name, partition) for partition in range(DEAD.partitions)]
    begins, ends = await log.begins(lanes), await log.ends(lanes)
    done = await read_redriven(connection)
    found: dict[str, list[Letter]] = {}
    for lane in lanes:
        start = begins[lane]
        if since is not None:
            start = max(start, await log.offset_at(lane, int(since.timestamp() * 1000), ends[lane]))
        async for records in log.records(lane, start, ends[lane]):
            for record in records:
                letter = _letter(lane.partition, record)
                is_asked_for = reason is None or letter.reason == reason
                if is_asked_for and (letter.partition, letter.offset) not in done:
                    found.setdefault(letter.origin, []).append(letter)
    return [[await _whole(log, letters[0]), *letters[1:]] for letters in found.values()]


async def read_redriven(connection: Connection) -> set[tuple[int, int]]:
    """The places, partition and offset, of the letters that were sent again."""
    return {(row["partition"], row["offset"]) for row in await connection.fetch(SQL["read_redriven"])}


async def note_redriven(connection: Connection, letters: Sequence[tuple[int, int]]) -> None:
    """Notes that the letters at these places were sent again."""
    partitions, offsets = [at[0] for at in letters], [at[1] for at in letters]
    await connection.execute(SQL["note_redriven"], partitions, offsets)


def _letter(partition: int, record: Any) -> Letter:  # noqa: ANN401 (aiokafka's records carry hardly any types)
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    return Letter(
        partition=partition,
        offset=record.offset,
        origin=(record.key or b"").decode("utf-8", "replace"),
        reason=headers.get("reason", ""),
        detail=headers.get("detail", ""),
        logged_ms=record.timestamp,
        value=record.value or b"",
        is_whole="truncated" not in headers,
    )


async def _whole(log: LogReader, letter: Letter) -> Letter:
    """A letter that was cut, with the record's own bytes where its topic still holds them."""
    if letter.is_whole:
        return letter
    topic, partition, offset = letter.origin.rsplit("/", 2)
    lane, at = Lane(topic, int(partition)), int(offset)
    if (await log.begins([lane]))[lane] > at:
        return letter
    try:
        async for records in log.records(lane, at, at + 1):
            return Letter(
                partition=letter.partition,
                offset=letter.offset,
                origin=letter.origin,
                reason=letter.reason,
                detail=letter.detail,
                logged_ms=letter.logged_ms,
                value=records[0].value or b"",
            )
    except CutShort:
        pass
    return letter
