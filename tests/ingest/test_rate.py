"""Is an address held back when it sends too much, and no other one?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.gateway.rate import RateLimit, address_of


class Clock:
    """A clock that is set by hand."""

    now_s = 1000.0

    def __call__(self) -> float:
        """The present moment."""
        return self.now_s


def test_a_burst_then_a_steady_rate() -> None:
    clock = Clock()
    limit = RateLimit(per_minute=6, burst=3, clock_s=clock)
    assert [limit.wait_s("a") for _ in range(5)] == [0, 0, 0, 10, 10]
    clock.now_s += 9.5
    assert limit.wait_s("a") == 1
    clock.now_s += 0.5
    assert [limit.wait_s("a"), limit.wait_s("a")] == [0, 10]
    clock.now_s += 3600
    assert [limit.wait_s("a") for _ in range(4)] == [0, 0, 0, 10]


def test_others_are_not_held_back() -> None:
    limit = RateLimit(per_minute=6, burst=1, clock_s=Clock())
    assert [limit.wait_s("a"), limit.wait_s("a"), limit.wait_s("b")] == [0, 10, 0]


def test_what_is_remembered_is_bounded() -> None:
    limit = RateLimit(per_minute=6, burst=1, clock_s=Clock(), addresses_max=100)
    for number in range(1000):
        assert limit.wait_s(str(number)) == 0
    assert len(limit) == 100
    assert limit.wait_s("999") == 10


@given(st.lists(st.floats(min_value=0, max_value=30), max_size=60))
def test_never_more_than_the_rate(waits: list[float]) -> None:
    clock = Clock()
    limit = RateLimit(per_minute=6, burst=3, clock_s=clock)
    let_in: list[float] = []
    for wait in waits:
        clock.now_s += wait
        if limit.wait_s("a") == 0:
            let_in.append(clock.now_s)
    for index, since_s in enumerate(let_in):
        for number, until_s in enumerate(let_in[index:], 1):
            assert number <= 3 + (until_s - since_s) / 10 + 1e-3


@pytest.mark.parametrize(
    ("host", "address"),
    [
        pytest.param("203.0.113.7", "203.0.113.7", id="IPv4"),
        pytest.param("::ffff:203.0.113.7", "203.0.113.7", id="IPv4 in IPv6"),
        pytest.param("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", id="a network of IPv6"),
        pytest.param("testclient", "testclient", id="a name"),
    ],
)
def test_who_sends(host: str, address: str) -> None:
    assert address_of({"type": "http", "client": (host, 1)}) == address


def test_who_is_not_known_is_one() -> None:
    assert address_of({"type": "http", "client": None}) == ""
