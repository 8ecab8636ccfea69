"""Which buckets are closed?

A bucket closes when the watermark of the topic that feeds it has passed its end by the site's grace. What comes later
corrects it, and the value that it closed with stays known as the one first reported.
"""

from collections.abc import Iterable, Mapping
from math import inf

from msgspec import Struct

from dashboard_api.database import Reader
from dashboard_api.statements import load_statements
from schemas.event import EVENT_TYPES
from schemas.kpi import Base
from schemas.site import Site
from schemas.topics import INPUTS

_SQL = load_statements("closing")

_TOPIC_BY_TYPE: Mapping[str, str] = {
    name: topic.name for name, cls in EVENT_TYPES.items() for topic in INPUTS if cls in topic.types
}


class ClosedUntil(Struct, frozen=True):
    """How far each topic has closed: by its name without the prefix, in epoch seconds, the grace taken off."""

    closed_s: Mapping[str, float]

    def until_s(self, bases: Iterable[Base]) -> float:
        """Buckets of what these bases feed are closed when they end at this moment or before."""
        return min((self.closed_s.get(_TOPIC_BY_TYPE[base.event], -inf) for base in bases), default=-inf)

    def is_closed(self, bases: Iterable[Base], end_s: int) -> bool:
        """Whether a bucket with this end is closed in all of these bases."""
        return end_s <= self.until_s(bases)


NOTHING_CLOSED = ClosedUntil({})
"""Before any partition was counted."""


async def read_closing(reader: Reader, site: Site) -> ClosedUntil:
    """How far the topics have closed now."""
    closing = site.header.closing
    rows = await reader.fetch(_SQL["read_closing"], float(closing.idle_s))
    # The prefix before a topic's name is the deployment's; names never end in one another.
    return ClosedUntil(
        {
            topic.name: row["watermark_s"] - closing.grace_s
            for row in rows
            for topic in INPUTS
            if row["topic"].endswith(topic.name)
        }
    )
