"""Which events were committed last?"""

from collections.abc import Collection

from msgspec import Struct

from dashboard_api.conflation import NewEvent
from dashboard_api.database import Reader
from dashboard_api.messages import event_text
from dashboard_api.position import Position
from dashboard_api.scope import inside, parameters, scoped_statements, seen_of
from dashboard_api.within import descendants as descendants
from schemas.area import AreaTree
from schemas.command import Actor
from schemas.event import AreaId
from schemas.identity import Role

_SQL = scoped_statements("events")


class EventCursor(Struct, frozen=True):
    """A place in the list of all events, newest first: what comes after it is older."""

    xid: int
    source: str = ""
    id: str = ""


class EventFilter(Struct, frozen=True, kw_only=True):
    """What a list shows; None shows all. `areas` are exact ids, descendants included by whoever asks."""

    type: str | None = None
    areas: Collection[AreaId] | None = None
    source: str | None = None
    subject: str | None = None
    exercise: bool | None = None


class ListedEvent(Struct, frozen=True):
    """A serialised event with its own place in the list."""

    text: str
    cursor: EventCursor


async def read_recent(
    reader: Reader,
    actor: Actor,
    tree: AreaTree,
    epoch: int,
    wanted: EventFilter,
    before: EventCursor | None,
    limit: int,
) -> list[ListedEvent]:
    """At most `limit` events that the actor may see, the newest committed first."""
    if limit == 0:
        return []
    rows = await reader.fetch(
        _SQL["read_recent"],
        *parameters(actor),
        str(before.xid) if before else None,
        before.source if before else None,
        before.id if before else None,
        wanted.type,
        None if wanted.areas is None else list(wanted.areas),
        wanted.source,
        wanted.subject,
        limit,
        inside(actor, tree),
        wanted.exercise,
    )
    return [
        ListedEvent(
            event_text(row["body"], row["committed_at"], Position(epoch, row["xid"])),
            EventCursor(row["xid"], row["source"], row["id"]),
        )
        for row in rows
    ]


async def read_between(
    reader: Reader, after: Position, through: Position, tree: AreaTree, limit: int
) -> tuple[list[NewEvent], int]:
    """The newest events of the transactions in (after, through], oldest first, and how many older are left out.

    They are for several readers: each is shown what `NewEvent.is_for` says. What is left out is counted as somebody
    who may see every agency's cases would, so that complaints about officials are not in the count.
    """
    rows = await reader.fetch(_SQL["read_between"], str(after.xid), str(through.xid), limit)
    events = [
        NewEvent(
            row["xid"],
            tree.touched_by(row["area"]) if row["area"] in tree else (tree.root.id,),
            event_text(row["body"], row["committed_at"], Position(through.epoch, row["xid"])),
            row["received_at"],
            row["is_command"] or row["is_misplaced"],
            None if row["case_id"] is None or row["is_misplaced"] else seen_of(row),
            row["is_exercise"],
        )
        for row in reversed(rows)
    ]
    if len(rows) < limit:
        return events, 0
    anybody = Actor(id="anybody", roles=(Role.OPERATOR.value,), sees_all=True, areas=tuple(tree.ids))
    scope = parameters(anybody)
    total = await reader.fetchval(
        _SQL["count_between"], *scope, str(after.xid), str(through.xid), inside(anybody, tree)
    )
    return events, int(total) - sum(event.is_for(anybody) for event in events)
