"""Was this high-rate event seen within the horizon?

The answer is a function of the log alone: an id is remembered from its record until the log's time has moved on
by the horizon. So a worker that takes a partition over rebuilds the same memory from the log's tail and decides
the same.

Ids are kept as 64-bit hashes. Two different ids of one horizon share a hash once in about 10^6 horizons of five
million ids; then one detection is not counted.
"""

from collections.abc import Sequence
from itertools import pairwise

from streams.core.batch import Arrival

HORIZON_MS = 30 * 60 * 1000
"""How long a resend is recognised."""

GENERATION_MS = 5 * 60 * 1000
"""Ids are forgotten in groups of this age, so forgetting costs nothing per id."""

IDS_MAX = 5_000_000
"""Ids that one worker remembers. Beyond it the oldest generation of the fullest partition is forgotten early."""


def identity(source: str, event_id: str) -> int:
    """A 64-bit hash of the event's identity, the same within one process."""
    return hash((source, event_id))


class SeenIds:
    """What one partition has brought within the horizon. Grows by `remember`, shrinks as the log moves on."""

    def __init__(self, horizon_ms: int = HORIZON_MS, generation_ms: int = GENERATION_MS) -> None:
        """Remembers nothing yet."""
        self._generation_ms = generation_ms
        self._kept = max(1, horizon_ms // generation_ms)
        self._generations: dict[int, set[int]] = {}

    def __len__(self) -> int:
        return sum(len(ids) for ids in self._generations.values())

    def fresh(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Those not seen before, in order; of several with one identity the first. Remembers nothing."""
        known = tuple(self._generations.values())
        here: set[int] = set()
        kept: list[Arrival] = []
        for arrival in arrivals:
            event = arrival.event
            id_ = hash((event.source, event.id))
            if id_ in here or any(id_ in ids for ids in known):
                continue
            here.add(id_)
            kept.append(arrival)
        return kept

    def remember(self, arrivals: Sequence[Arrival]) -> None:
        """Adds what has been committed, in log order, and forgets what lies beyond the horizon."""
        for first, last in _runs(arrivals, self._generation_ms):
            number = arrivals[first].logged_ms // self._generation_ms
            ids = self._generations.setdefault(number, set())
            ids.update(hash((a.event.source, a.event.id)) for a in arrivals[first:last])
        if self._generations:
            newest = max(self._generations)
            for number in [n for n in self._generations if n <= newest - self._kept]:
                del self._generations[number]

    def forget_oldest(self) -> int:
        """Drops the oldest generation before its time. Returns how many ids that were."""
        if not self._generations:
            return 0
        return len(self._generations.pop(min(self._generations)))


def _runs(arrivals: Sequence[Arrival], generation_ms: int) -> list[tuple[int, int]]:
    """Where the log's time passes from one generation to the next, as [first, last) index pairs."""
    if not arrivals:
        return []
    numbers = [arrival.logged_ms // generation_ms for arrival in arrivals]
    marks = [0, *(index for index in range(1, len(numbers)) if numbers[index] != numbers[index - 1])]
    return list(pairwise([*marks, len(arrivals)]))
