"""How soon may the boards be told of the next change?

At once when it is quiet. When it is busy, after a gap that grows with what the last telling took, so that telling
them takes a bounded part of the processor whatever the clients show. What changes within the gap goes out once, with
its last value.
"""

GAP_MIN_S = 0.02
GAP_MAX_S = 0.2

_REST = 2.5  # telling and its gap take this times what telling takes: at most 40 % of a core


def gap_s(spent_s: float) -> float:
    """Seconds from one look at the feed to the next, after one that kept the processor busy for so long."""
    return min(GAP_MAX_S, max(GAP_MIN_S, _REST * spent_s))
