"""Which events count, when some replace or take back others, in whatever order they come?

An event counts unless it is a drill, or another event of its source replaces it (`supersedes`) or takes it back
(`withdraws`). A withdrawal counts nothing itself. Of several that replace the same one the last received counts. A
drill corrects nothing but is no event either. The answer depends on which events there are, never on their order;
the view `countable_event` says the same in SQL.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from schemas.event import Event


class Correction(NamedTuple):
    """What of an event matters here. `corrects` is the id of the event that it replaces or takes back."""

    source: str
    id: str
    corrects: str | None
    is_withdrawal: bool
    is_exercise: bool
    received_at: datetime

    @property
    def identity(self) -> tuple[str, str]:
        """Source and id."""
        return self.source, self.id


class Settled(NamedTuple):
    """What new events change: which of them count, and which of the known ones count no longer."""

    counted: list[Correction]
    retracted: list[Correction]


def correction_of(event: Event, received_at: datetime) -> Correction:
    """An event, as far as it matters here."""
    corrects = None if event.exercise else event.supersedes or event.withdraws
    return Correction(event.source, event.id, corrects, event.withdraws is not None, event.exercise, received_at)


def settle(
    fresh: Sequence[Correction], known: Sequence[Correction], doubtful: Collection[tuple[str, str]]
) -> Settled:
    """What `fresh` events change. Only known events whose identity is `doubtful` are judged.

    `known` must hold, of each event that is judged, those that correct it and those that correct what it corrects.
    """
    before, after = _Kept(known), _Kept([*known, *fresh])
    return Settled(
        counted=[one for one in fresh if after.counts(one)],
        retracted=[one for one in known if one.identity in doubtful and before.counts(one) and not after.counts(one)],
    )


class _Kept:
    """A set of events, by what they correct."""

    def __init__(self, events: Sequence[Correction]) -> None:
        self._by_target: dict[tuple[str, str], list[Correction]] = {}
        for event in events:
            if event.corrects is not None:
                self._by_target.setdefault((event.source, event.corrects), []).append(event)

    def counts(self, event: Correction) -> bool:
        if event.is_exercise or event.is_withdrawal or event.identity in self._by_target:
            return False
        if event.corrects is None:
            return True
        rivals = [one for one in self._by_target[event.source, event.corrects] if not one.is_withdrawal]
        return max(rivals, key=lambda one: (one.received_at, one.id)).id == event.id
