"""Was this high-rate event seen within the horizon?

The answer is a function of the log alone: an id is remembered from its last record until the log's time has moved on
by the horizon. So a worker that takes a partition over rebuilds the same memory from the log's tail and decides
the same.

Ids are kept as 64-bit hashes. Two different ids of one horizon share a hash once in about 10^6 horizons of five
million ids; then one detection is not counted.
"""

from array import array
from collections.abc import Collection, Sequence
from itertools import pairwise

from streams.core.batch import Arrival

HORIZON_MS = 30 * 60 * 1000
"""How long a resend is recognised."""

GENERATION_MS = 5 * 60 * 1000
"""Ids are forgotten in groups of this age, so forgetting costs nothing per id."""

IDS_MAX = 5_000_000
"""Ids that one worker remembers. Beyond it the oldest generation of the fullest partition is forgotten early."""


class SeenIds:
    """What one partition has brought within the horizon. Grows by `remember`, shrinks as the log moves on."""

    def __init__(self, horizon_ms: int = HORIZON_MS, generation_ms: int = GENERATION_MS) -> None:
        """Remembers nothing yet."""
        self._generation_ms = generation_ms
        # One more than fit, because the newest is not full: an id lives for the horizon at least.
        self._kept = -(-horizon_ms // generation_ms) + 1
        self._seen: set[int] = set()
        self._generations: dict[int, array[int]] = {}
        # Of ids that came again, the newest generation: the older ones do not forget them.
        self._again: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def fresh(self, arrivals: Sequence[Arrival]) -> Sequence[Arrival]:
        """Those not seen before, in order; of several with one identity the first. Remembers nothing."""
        identities = {arrival.identity for arrival in arrivals}
        if len(identities) == len(arrivals) and identities.isdisjoint(self._seen):
            return arrivals
        identities -= self._seen
        kept: list[Arrival] = []
        for arrival in arrivals:
            if arrival.identity in identities:
                identities.remove(arrival.identity)
                kept.append(arrival)
        return kept

    def remember(self, arrivals: Sequence[Arrival]) -> None:
        """Adds what the database has passed, fresh or not, and forgets what lies beyond the horizon."""
        for first, last in _runs(arrivals, self._generation_ms):
            number = arrivals[first].logged_ms // self._generation_ms
            identities = {arrival.identity for arrival in arrivals[first:last]}
            if again := identities & self._seen:
                identities -= {identity for identity in again if self._again.get(identity, -1) >= number}
                self._again.update(dict.fromkeys(again & identities, number))
            self._seen |= identities
            self._generations.setdefault(number, array("q")).extend(identities)
        if self._generations:
            newest = max(self._generations)
            for number in [n for n in self._generations if n <= newest - self._kept]:
                self._forget(number)

    def forget_oldest(self) -> int:
        """Drops the oldest generation before its time. Returns how many ids that were."""
        if not self._generations:
            return 0
        return self._forget(min(self._generations))

    def _forget(self, number: int) -> int:
        gone: Collection[int] = self._generations.pop(number)
        if self._again:
            gone = [identity for identity in gone if self._again.get(identity, number) <= number]
            for identity in gone:
                self._again.pop(identity, None)
        before = len(self._seen)
        self._seen.difference_update(gone)
        return before - len(self._seen)


def _runs(arrivals: Sequence[Arrival], generation_ms: int) -> list[tuple[int, int]]:
    """Where the log's time passes from one generation to the next, as [first, last) index pairs."""
    if not arrivals:
        return []
    if arrivals[0].logged_ms // generation_ms == arrivals[-1].logged_ms // generation_ms:
        return [(0, len(arrivals))]  # the log's time does not go back
    numbers = [arrival.logged_ms // generation_ms for arrival in arrivals]
    marks = [0, *(index for index in range(1, len(numbers)) if numbers[index] != numbers[index - 1])]
    return list(pairwise([*marks, len(arrivals)]))
