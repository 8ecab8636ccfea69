"""Between what does it lie, when its parts lie between bounds?

An end that is None is not known.
"""

from collections.abc import Iterable, Sequence

Interval = tuple[float | None, float | None]
"""The least and the most that something can be."""

UNKNOWN: Interval = (None, None)


def scaled(interval: Interval, factor: float) -> Interval:
    """Times a number; a negative one turns the ends round."""
    lower, upper = (None if end is None else end * factor for end in interval)
    return (lower, upper) if factor >= 0 else (upper, lower)


def difference(plus: Interval, minus: Interval) -> Interval:
    """`plus` less `minus`."""
    (plus_least, plus_most), (minus_least, minus_most) = plus, minus
    lower = None if plus_least is None or minus_most is None else plus_least - minus_most
    upper = None if plus_most is None or minus_least is None else plus_most - minus_least
    return lower, upper


def quotient(above: Interval, below: Interval) -> Interval:
    """`above` over `below`, wherever the latter is not 0. Of a divisor that may be negative nothing is known."""
    (least, most), (divisor_least, divisor_most) = above, below
    if least is None or divisor_least is None or divisor_least < 0:
        return UNKNOWN
    if divisor_least > 0 and divisor_most is not None and most is not None:
        corners = [a / b for a in (least, most) for b in (divisor_least, divisor_most)]
        return min(corners), max(corners)
    if least < 0:
        return UNKNOWN
    upper = most / divisor_least if most is not None and divisor_least > 0 else None
    return (least / divisor_most if divisor_most else 0.0), upper


def share(hits: float, n: float, hits_more: float, n_more: float) -> Interval:
    """The share of hits among n, when any of `n_more` may join, of which `hits_more` are hits; of at least one."""
    misses_more = n_more - hits_more
    lower = hits / (n + misses_more) if n + misses_more else 1.0
    upper = (hits + hits_more) / (n + hits_more) if n + hits_more else 0.0
    return lower, upper


def least(certain: Iterable[float], lows: Iterable[float], highs: Iterable[float]) -> Interval:
    """The lowest of `certain` and of any of what lies between `lows` and `highs`; of at least one."""
    given = list(certain)
    return min([*given, *lows], default=None), min(given) if given else max(highs, default=None)


def greatest(certain: Iterable[float], lows: Iterable[float], highs: Iterable[float]) -> Interval:
    """The highest of `certain` and of any of what lies between `lows` and `highs`; of at least one."""
    return scaled(least(_negated(certain), _negated(highs), _negated(lows)), -1)


def _negated(values: Iterable[float]) -> Sequence[float]:
    return [-value for value in values]
