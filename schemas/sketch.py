"""How can percentiles be added up?

By a histogram whose bins grow by a constant factor: every value in a bin lies within ALPHA of the bin's
representative, and two histograms merge by adding their counts, or part by subtracting them. A bin is a plain
integer, ordered as the values are.

Source: Masson, Rim, Lee: DDSketch (VLDB 2019) §2.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, exp, log

import msgspec

ALPHA = 0.01
"""The largest relative error of a percentile."""

_GAMMA = (1 + ALPHA) / (1 - ALPHA)
_LOG_GAMMA = log(_GAMMA)
_OFFSET = 8192
_INDEX_MAX = _OFFSET - 1  # |value| from 1e-71 to 1e71; beyond it values share the outermost bin

ZERO_BIN = 0


def bin_of(value: float) -> int:
    """The bin that holds this value: negative, 0 or positive as the value is, larger for a larger value."""
    if value == 0:
        return ZERO_BIN
    index = ceil(log(abs(value)) / _LOG_GAMMA)
    encoded = max(-_INDEX_MAX, min(_INDEX_MAX, index)) + _OFFSET
    return encoded if value > 0 else -encoded


def representative(bin_: int) -> float:
    """The value that stands for a bin, within ALPHA of every value in it."""
    if bin_ == ZERO_BIN:
        return 0.0
    magnitude = 2 * exp((abs(bin_) - _OFFSET) * _LOG_GAMMA) / (_GAMMA + 1)
    return magnitude if bin_ > 0 else -magnitude


def quantile(counts: Iterable[tuple[int, int]], q: float) -> float | None:
    """The q-quantile (0 ≤ q ≤ 1) of (bin, count) pairs in any order; None when they hold nothing."""
    found = _quantile_bin(sorted(counts), q)
    return None if found is None else representative(found)


def quantile_range(
    certain: Iterable[tuple[int, int]], possible: Iterable[tuple[int, int]], q: float
) -> tuple[float | None, float | None]:
    """The least and the greatest that `quantile` can give of all in `certain` and any part of what is `possible`.

    Of some bins the lowest give the least quantile. One more value moves the rank by at most one place, so a value
    that is not above the quantile never raises it, and one that is above never lowers it: taking the lowest for as
    long as they are not above finds the least. The greatest mirrors it.
    """
    counts, more = list(certain), sorted((bin_, n) for bin_, n in possible if n)
    return _extreme(counts, more, q, 1), _extreme(counts, more[::-1], q, -1)


def _extreme(counts: Sequence[tuple[int, int]], more: Sequence[tuple[int, int]], q: float, sign: int) -> float | None:
    taken = list(counts)
    found = _quantile_bin(sorted(taken), q)
    for bin_, n in more:
        if found is not None and sign * bin_ > sign * found:
            break
        taken.append((bin_, n))
        found = _quantile_bin(sorted(taken), q)
    return None if found is None else representative(found)


def _quantile_bin(ordered: Sequence[tuple[int, int]], q: float) -> int | None:
    total = sum(n for _, n in ordered)
    if total == 0:
        return None
    rank = q * (total - 1)
    seen = 0
    for bin_, n in ordered:
        seen += n
        if seen > rank:
            return bin_
    return ordered[-1][0]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[int, int])


def encode_bins(counts: Mapping[int, int]) -> bytes:
    """The counts by bin as they are stored: a MessagePack map, in the order of the bins; empty bins are left out."""
    return _encoder.encode({bin_: n for bin_, n in sorted(counts.items()) if n})


def merge_bins(encoded: Iterable[bytes]) -> dict[int, int]:
    """The counts by bin of several histograms together."""
    counts: dict[int, int] = {}
    for one in encoded:
        for bin_, n in _decoder.decode(one).items():
            counts[bin_] = counts.get(bin_, 0) + n
    return counts
