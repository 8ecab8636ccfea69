"""What must whoever keeps the state promise?

One batch is one transaction: the position, the events, the KPI increments, the sources and the change row commit
together or not at all. The position is the fence: a batch that does not begin where the last one ended changes
nothing, so a zombie, a replay or a rebalance can neither lose nor count twice.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from msgspec import Struct

from streams.core.batch import Arrival
from streams.versions import RegisteredPack, Version


class Lane(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Position(NamedTuple):
    """How far a lane has been counted, and on which incarnation of the topic.

    `watermark_s` is what the next record meets, `site_version` the site pack that counts it (0: none has yet).
    """

    topic_id: UUID
    next_offset: int
    watermark_s: float = 0.0
    site_version: int = 0


class PositionMoved(Exception):  # news, not a fault
    """Somebody else has advanced the lane. Nothing was changed; read the position and start again from there."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What a commit did: how many arrivals it took in, and how many had been taken in before."""

    counted: int
    duplicates: int


class LaneBatch(Struct, frozen=True, kw_only=True):
    """What one lane wants counted: arrivals that take it from `expected` to `reached`, by a version of the site pack.

    With `unique` the arrivals are kept in the event table for ever, and those that it holds do not count again.
    """

    lane: Lane
    expected: Position
    reached: Position
    arrivals: Sequence[Arrival]
    version: Version
    unique: bool


class Writer(Protocol):
    """The state, as `streams` changes it. Raises DependencyUnavailable when it is away; nothing is changed then."""

    async def position(self, lane: Lane, topic_id: UUID) -> Position:
        """How far the lane has been counted; (topic_id, 0) is stored and returned when it never was."""
        ...

    async def commit(self, batch: LaneBatch) -> Outcome:
        """Counts a lane's batch and advances the lane, in one transaction. Raises PositionMoved."""
        ...

    async def site(self, number: int) -> RegisteredPack:
        """A registered site pack."""
        ...
