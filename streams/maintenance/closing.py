"""Up to when is nothing waited for any more?"""

from collections.abc import Mapping

from schemas.event import EVENT_TYPES
from schemas.kpi import Base
from schemas.site import Site
from schemas.topics import INPUTS
from streams.maintenance.timer import SQL
from streams.store.cells import Connection

_TOPIC_BY_TYPE: Mapping[str, str] = {
    name: topic.name for name, cls in EVENT_TYPES.items() for topic in INPUTS if cls in topic.types
}


async def read_closed_s(connection: Connection, site: Site) -> Mapping[str, float]:
    """By base, the moment in epoch seconds: its buckets that end then or before are closed. Without an entry none is.

    It is the least of all partitions, as for the boards; a single partition may be ahead of it.
    """
    closing = site.header.closing
    rows = await connection.fetch(SQL["read_closing"], float(closing.idle_s))
    # The prefix before a topic's name is the deployment's; names never end in one another.
    by_topic = {
        topic.name: row["watermark_s"] - closing.grace_s
        for row in rows
        for topic in INPUTS
        if row["topic"].endswith(topic.name)
    }
    return {base.id: by_topic[topic] for base in site.kpis.bases if (topic := _topic(base)) in by_topic}


def _topic(base: Base) -> str:
    return _TOPIC_BY_TYPE[base.event]
