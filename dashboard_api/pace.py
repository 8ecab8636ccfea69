"""How soon may the boards be told of the next change?

At once when it is quiet. When it is busy, after a gap that grows with the clients and with what they are sent, so
that telling them takes a bounded part of the processor. What changes within the gap goes out once, with its last
value.
"""

GAP_MIN_S = 0.02
GAP_MAX_S = 0.2

_CLIENT_COST_S = (
    0.0002  # a message costs 80 µs of a core (tests/dashboard/latency.py), so all take 40 % of it at most
)
_VALUE_COST_S = 0.0001  # a value costs 20 µs to read, out of 1.4 million rows, and a few to serialise


def gap_s(clients: int, values: int) -> float:
    """Seconds from one look at the feed to the next, after one that sent `values` to `clients`."""
    return min(GAP_MAX_S, max(GAP_MIN_S, clients * _CLIENT_COST_S + values * _VALUE_COST_S))
