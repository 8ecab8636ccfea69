"""Which events count does not depend on how they come: is it what one would say by looking at all of them?"""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.migrate import migrate_schema
from streams.core.correction import Correction, correction_of, settle
from tests.streams.world import event

BEGIN = datetime(2025, 7, 1, tzinfo=UTC)
RECEIVED = "ioc.feedback.received.v1"


def one(id_: str, corrects: str | None = None, *, source: str = "s", received: int = 0, **given_: bool) -> Correction:
    """An event."""
    return Correction(
        source,
        id_,
        corrects,
        given_.get("is_withdrawal", False),
        given_.get("is_exercise", False),
        BEGIN + timedelta(seconds=received),
    )


def standing(events: Sequence[Correction]) -> set[tuple[str, str]]:
    """Which of these count, by looking at every pair: also when they are many in a chain."""
    corrects = {event.identity: (event.source, event.corrects) for event in events if event.corrects is not None}

    def above(identity: tuple[str, str]) -> frozenset[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        while identity not in found:
            found.add(identity)
            identity = corrects.get(identity, identity)
        return frozenset(found)

    ways = {event.identity: above(event.identity) for event in events}
    real = {event.identity: (event.received_at, event.id) for event in events if not event.is_withdrawal}

    def beats(rival: tuple[str, str], event: tuple[str, str]) -> bool:
        """Whether a rival came after all that only this event, and not the rival, has on its way."""
        apart = ways[event] - ways[rival]
        return (
            rival not in ways[event]
            and not ways[rival].isdisjoint(ways[event])
            and not any(one in real and real[one] > real[rival] for one in apart)
        )

    return {
        event.identity
        for event in events
        if not event.is_exercise
        and event.identity in real
        and event.identity not in corrects.values()
        # Whatever hangs on a circle corrects nothing that there is.
        and any(one not in corrects for one in ways[event.identity])
        and not any(beats(rival, event.identity) for rival in real)
    }


IDS = "abcdef"


@st.composite
def some(draw: st.DrawFn) -> list[Correction]:
    """Events of two sources that correct each other in every way, also in circles, and what is not there."""
    made: list[Correction] = []
    for source in ("s", "t"):
        for id_ in draw(st.lists(st.sampled_from(IDS), unique=True)):
            kind = draw(st.sampled_from(["new", "new", "drill", "supersedes", "supersedes", "withdraws"]))
            corrects = None
            if kind in ("supersedes", "withdraws"):
                corrects = draw(st.sampled_from([other for other in (*IDS, "gone") if other != id_]))
            made.append(
                Correction(
                    source,
                    id_,
                    corrects,
                    kind == "withdraws",
                    kind == "drill",
                    BEGIN + timedelta(seconds=draw(st.integers(0, 1))),
                )
            )
    return draw(st.permutations(made))


@given(some(), st.data())
@settings(max_examples=150)
def test_settling_batch_by_batch_tells_every_change(events: list[Correction], data: st.DataObject) -> None:
    known: list[Correction] = []
    counted: set[tuple[str, str]] = set()
    while len(known) < len(events):
        end = data.draw(st.integers(len(known) + 1, len(events)))
        fresh = events[len(known) : end]
        settled = settle(fresh, known, {event.identity for event in known})
        gone = {event.identity for event in settled.retracted}
        added = {event.identity for event in settled.counted}
        assert gone <= counted
        assert not added & counted
        counted = (counted - gone) | added
        known += fresh
        assert counted == standing(known)


@given(some())
@settings(max_examples=100)
def test_what_once_counts_no_longer_never_counts_again(events: list[Correction]) -> None:
    # So every change is an event that is added once, and taken away once.
    lost: set[tuple[str, str]] = set()
    for end in range(len(events) + 1):
        now = standing(events[:end])
        assert not now & lost
        lost |= {event.identity for event in events[:end]} - now


CASES = [
    pytest.param([one("a")], "a", id="alone"),
    pytest.param([one("a", is_exercise=True)], "", id="a drill"),
    pytest.param([one("a"), one("b", "a")], "b", id="replaced"),
    pytest.param([one("a", "b"), one("b", "a"), one("c", "b")], "", id="hangs on a circle"),
    pytest.param([one("a"), one("b", "a", is_withdrawal=True)], "", id="taken back"),
    pytest.param([one("a"), one("b", "a"), one("c", "b")], "c", id="replaced, and that again"),
    pytest.param([one("a"), one("b", "a"), one("c", "a", received=1)], "c", id="replaced twice: the last received"),
    pytest.param([one("a"), one("b", "a", received=1), one("c", "a")], "b", id="replaced twice, the other way"),
    pytest.param([one("a"), one("b", "a"), one("c", "a")], "c", id="replaced twice at once: the larger id"),
    pytest.param([one("a"), one("b", "a"), one("w", "b", is_withdrawal=True)], "", id="its replacement taken back"),
    pytest.param([one("a"), one("b", "a"), one("w", "a", is_withdrawal=True)], "b", id="replaced and taken back"),
    pytest.param(
        [one("a"), one("b", "a"), one("c", "a", received=1), one("w", "c", is_withdrawal=True)],
        "",
        id="the last of two replacements taken back: the other one stays replaced",
    ),
    pytest.param([one("b", "a")], "b", id="what it replaces never came"),
    pytest.param([one("a"), one("b", "a", source="t")], "ab", id="another source has no say"),
    pytest.param([one("a"), one("b", is_exercise=True)], "a", id="a drill corrects nothing"),
    pytest.param([one("a", is_exercise=True), one("b", "a")], "b", id="a drill is replaced by a real one"),
    pytest.param([one("a", "b"), one("b", "a")], "", id="each replaces the other"),
    pytest.param(
        [one("a"), one("b", "a", received=1), one("x", "a", received=2), one("c", "b", received=3)],
        "c",
        id="a correction corrected, and another one of the same: the last received",
    ),
    pytest.param(
        [one("a"), one("b", "a", received=1), one("x", "a", received=3), one("c", "b", received=2)],
        "x",
        id="the same, where the other one is the last",
    ),
    pytest.param(
        [one("a"), one("x", "a", received=1), one("b", "a", received=3), one("c", "b", received=0)],
        "c",
        id="the last received was corrected by what had been received before all",
    ),
    pytest.param(
        [one("b", "a"), one("x", "a", received=1), one("c", "b", received=2), one("d", "x", received=3)],
        "d",
        id="two chains of corrections of what never came",
    ),
    pytest.param(
        [one("a"), one("b", "a"), one("w", "b", is_withdrawal=True), one("c", "w", received=1)],
        "c",
        id="replaced after it was taken back",
    ),
]


@pytest.mark.parametrize(("events", "counted"), CASES)
def test_in_every_order(events: list[Correction], counted: str) -> None:
    for order in permutations(events):
        known: list[Correction] = []
        now: set[str] = set()
        for event_ in order:
            settled = settle([event_], known, {other.identity for other in known})
            now = (now - {gone.id for gone in settled.retracted}) | {added.id for added in settled.counted}
            known.append(event_)
        assert now == set(counted)


@pytest.mark.parametrize(
    ("given_", "corrects", "is_withdrawal"),
    [
        pytest.param({}, None, False, id="new"),
        pytest.param({"supersedes": "0"}, "0", False, id="a correction"),
        pytest.param({"withdraws": "0"}, "0", True, id="a withdrawal"),
        pytest.param({"supersedes": "0", "exercise": True}, None, False, id="a drill's correction corrects nothing"),
    ],
)
def test_what_of_an_event_matters(given_: dict[str, Any], corrects: str | None, is_withdrawal: bool) -> None:
    found = correction_of(event(RECEIVED, **given_), BEGIN)
    assert (found.identity, found.corrects, found.is_withdrawal) == (("s", "1"), corrects, is_withdrawal)
    assert found.is_exercise is given_.get("exercise", False)


async def test_the_view_says_the_same(database_url: str) -> None:
    await migrate_schema(database_url)
    rng = random.Random(7)
    sets: list[list[Correction]] = []
    for number in range(400):
        ids = [id_ for id_ in (*IDS, "A", "Đ") if rng.random() < 0.6]
        sets.append(
            [
                one(
                    id_,
                    rng.choice([other for other in (*IDS, "A", "gone") if other != id_]) if kind > 2 else None,
                    source=f"s{number}",
                    received=rng.randrange(2),
                    is_withdrawal=kind == 5,
                    is_exercise=kind == 2,
                )
                for id_ in ids
                for kind in [rng.randrange(6)]
            ]
        )
    connection = await asyncpg.connect(database_url)
    try:
        await connection.executemany(
            """INSERT INTO event (source, id, corrects, is_withdrawal, is_exercise, received_at, type, time,
                                  window_time, area, area_list, body)
               VALUES ($1, $2, $3, $4, $5, $6, 't', $6, $6, 'a', 'l', '')""",
            [tuple(event_) for events in sets for event_ in events],
        )
        rows = await connection.fetch("SELECT source, id FROM countable_event")
    finally:
        await connection.close()
    expected = {identity for events in sets for identity in standing(events)}
    assert {(row["source"], row["id"]) for row in rows} == expected
    settled = {found.identity for events in sets for found in settle(events, [], ()).counted}
    assert settled == expected
