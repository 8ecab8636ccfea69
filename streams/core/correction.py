"""Which events count, when some replace or take back others, in whatever order they come?

An event counts unless it is a drill, or another event of its source replaces it (`supersedes`) or takes it back
(`withdraws`). A withdrawal counts nothing itself. Of all that replace the same one, also by way of each other, the
last received counts; where that was replaced itself, of what replaces it the last received, and so on. What goes
round in a circle has nothing that it replaces, and nothing counts of all that hangs on it: so an event that does not
count never comes to count. A drill corrects nothing but is no event either. The answer depends on which events there
are, never on their order; the view `countable_event` says the same in SQL.
"""

from collections.abc import Collection, Mapping, Sequence
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

    `known` must hold the whole chain of each event that is judged: what it corrects, what corrects that, and so on.
    """
    before, after = _Kept(known), _Kept([*known, *fresh])
    return Settled(
        counted=[one for one in fresh if after.counts(one)],
        retracted=[one for one in known if one.identity in doubtful and before.counts(one) and not after.counts(one)],
    )


def chains(events: Collection[Correction]) -> dict[tuple[str, str], tuple[str, str]]:
    """Which events hang together: for each the identity that is the same for all of its chain, there or not."""
    corrects = {one.identity: (one.source, one.corrects) for one in events if one.corrects is not None}
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for identity in {one.identity: None for one in events}:
        on_the_way = _above(identity, corrects)
        # In a circle there is no first one, so that the smallest stands for it.
        last = on_the_way[-1]
        circle = on_the_way[on_the_way.index(corrects[last]) :] if last in corrects else [last]
        found[identity] = min(circle)
    return found


def _above(identity: tuple[str, str], corrects: Mapping[tuple[str, str], tuple[str, str]]) -> list[tuple[str, str]]:
    """An event, what it corrects, what that corrects, and so on; once round a circle."""
    found = {identity: None}
    while (target := corrects.get(identity)) is not None and target not in found:
        found[target] = None
        identity = target
    return list(found)


class _Kept:
    """A set of events, by what they correct."""

    def __init__(self, events: Sequence[Correction]) -> None:
        self._corrects: dict[tuple[str, str], tuple[str, str]] = {}
        self._by_target: dict[tuple[str, str], list[Correction]] = {}
        self._chains: dict[tuple[str, str], list[Correction]] = {}
        for event in events:
            if event.corrects is not None:
                self._corrects[event.identity] = event.source, event.corrects
                self._by_target.setdefault((event.source, event.corrects), []).append(event)
        self._chain_of = chains(events)
        for event in events:
            if not event.is_withdrawal and not event.is_exercise:
                self._chains.setdefault(self._chain_of[event.identity], []).append(event)

    def counts(self, event: Correction) -> bool:
        if event.is_exercise or event.is_withdrawal or event.identity in self._by_target:
            return False
        if event.corrects is None:
            return True
        on_the_way = _above(event.identity, self._corrects)
        if on_the_way[-1] in self._corrects:
            return False
        above = set(on_the_way)
        rivals = self._chains[self._chain_of[event.identity]]
        passed: set[tuple[str, str]] = set()
        while rivals:
            last = max(rivals, key=lambda one: (one.received_at, one.id))
            if last.identity == event.identity:
                return True
            if last.identity not in above:
                return False
            # The last received was corrected itself: of what corrects it the last received counts.
            passed.add(last.identity)
            rivals = [one for one in self._beneath(last) if one.identity not in passed]
        return False

    def _beneath(self, event: Correction) -> list[Correction]:
        """What corrects an event, also by way of others, withdrawals left out."""
        found: dict[tuple[str, str], Correction] = {}
        waiting = [event.identity]
        while waiting:
            for one in self._by_target.get(waiting.pop(), ()):
                if one.identity not in found:
                    found[one.identity] = one
                    waiting.append(one.identity)
        return [one for one in found.values() if not one.is_withdrawal]
