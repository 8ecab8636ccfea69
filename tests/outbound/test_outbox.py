"""Does the outbox keep what goes in, once, until it is sent or given up?"""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import DependencyUnavailable, OperatorError
from streams.store import outbox as store
from streams.store.outbox import (
    ATTEMPTS_MAX,
    BACKOFF_FIRST_S,
    BACKOFF_JITTER,
    BACKOFF_MAX_S,
    BODY_BYTES_MAX,
    LEASE_S,
    Outbox,
    Timer,
    backoff_s,
    claim_timer,
    enqueue,
    finish_timer,
    pending_timers,
    set_timer,
)
from tests.outbound.messages import Connection, make_due, message, put, row


async def test_the_same_cause_twice_is_one_message(connection: Connection, outbox: Outbox) -> None:
    assert await enqueue(connection, message(body=b"first"))
    assert not await enqueue(connection, message(body=b"second"))
    claimed = await outbox.claim()
    assert claimed is not None
    assert claimed.message == message(body=b"first")
    await outbox.mark_sent(claimed)
    assert not await enqueue(connection, message(body=b"third"))
    assert await outbox.claim() is None


async def test_what_causes_a_message_and_the_message_are_there_together_or_not_at_all(
    connection: Connection, outbox: Outbox
) -> None:
    transaction = connection.transaction()
    await transaction.start()
    assert await enqueue(connection, message())
    await transaction.rollback()
    assert await outbox.claim() is None


async def test_a_message_that_is_too_large_is_refused(connection: Connection) -> None:
    with pytest.raises(OperatorError, match="at most"):
        await enqueue(connection, message(body=bytes(BODY_BYTES_MAX + 1)))


async def test_a_claimed_message_is_nobody_elses_until_its_lease_is_over(
    connection: Connection, outbox: Outbox
) -> None:
    await put(connection, message())
    first = await outbox.claim()
    assert first is not None
    assert await outbox.claim() is None
    assert LEASE_S - 10 < (await row(connection, "r.1.json"))["due_in_s"] <= LEASE_S
    await make_due(connection)
    second = await outbox.claim()
    assert second is not None
    assert (first.attempt, second.attempt) == (1, 2)
    # Who was overtaken cannot put off the attempt that is under way now.
    await outbox.mark_failed(first, "late", for_good=True)
    assert (await row(connection, "r.1.json"))["given_up"] is False
    # But what it did deliver is delivered.
    await outbox.mark_sent(first)
    assert (await row(connection, "r.1.json"))["sent"] is True


async def test_many_who_claim_at_once_get_different_messages(connection: Connection, outbox: Outbox) -> None:
    await put(connection, *(message(f"r.{n}") for n in range(20)))
    claimed = await asyncio.gather(*(outbox.claim() for _ in range(30)))
    ids = [one.message.id for one in claimed if one is not None]
    assert sorted(ids) == sorted(f"r.{n}" for n in range(20))


async def test_failures_are_tried_again_until_the_attempts_are_used_up(
    connection: Connection, outbox: Outbox
) -> None:
    await put(connection, message())
    waits_s: list[float] = []
    for attempt in range(1, ATTEMPTS_MAX + 1):
        claimed = await outbox.claim()
        assert claimed is not None
        assert await outbox.mark_failed(claimed, "x" * 1000, for_good=False) == (attempt < ATTEMPTS_MAX)
        waits_s.append((await row(connection, "r.1.json"))["due_in_s"])
        await make_due(connection)
    assert await outbox.claim() is None
    kept = await row(connection, "r.1.json")
    assert (kept["given_up"], kept["sent"], len(kept["last_error"])) == (True, False, store.ERROR_CHARS_MAX)
    assert waits_s[0] <= BACKOFF_FIRST_S * (1 + BACKOFF_JITTER)
    assert sum(waits_s[:-1]) > 20 * 60 * 60
    backlog = await outbox.backlog()
    assert (backlog.waiting, backlog.failed) == (0, 1)
    (unsent,) = await outbox.unsent(10)
    assert (unsent.id, unsent.failed, unsent.attempts) == ("r.1.json", True, ATTEMPTS_MAX)
    # Somebody has mended what was wrong.
    assert await outbox.retry() == 1
    assert (await outbox.claim()) is not None


async def test_a_message_that_ends_whoever_sends_it_is_given_up_too(connection: Connection, outbox: Outbox) -> None:
    await put(connection, message())
    for _ in range(ATTEMPTS_MAX):
        assert await outbox.claim() is not None
        assert await outbox.give_up() == 0
        await make_due(connection)
    assert await outbox.claim() is None
    assert await outbox.give_up() == 1
    assert (await outbox.backlog()).failed == 1


async def test_a_receiver_may_ask_for_a_longer_wait(connection: Connection, outbox: Outbox) -> None:
    await put(connection, message())
    claimed = await outbox.claim()
    assert claimed is not None
    await outbox.mark_failed(claimed, "busy", for_good=False, wait_s=3600)
    assert 3500 < (await row(connection, "r.1.json"))["due_in_s"] <= 3600


@given(attempt=st.integers(1, ATTEMPTS_MAX), spread=st.floats(-1, 1))
def test_waits_are_bounded(attempt: int, spread: float) -> None:
    wait_s = backoff_s(attempt, spread)
    assert BACKOFF_FIRST_S * (1 - BACKOFF_JITTER) <= wait_s <= BACKOFF_MAX_S * (1 + BACKOFF_JITTER)


async def test_what_was_sent_long_ago_keeps_its_id_alone(connection: Connection, outbox: Outbox) -> None:
    await put(connection, message("old"), message("new"), message("waits"))
    await connection.execute("UPDATE outbox SET sent_at = clock_timestamp() - interval '2 hours' WHERE id = 'old'")
    await connection.execute("UPDATE outbox SET sent_at = clock_timestamp() WHERE id = 'new'")
    assert await outbox.forget_bodies(3600, 10) == 1
    assert await outbox.forget_bodies(3600, 10) == 0
    assert await connection.fetchval("SELECT array_agg(id ORDER BY id) FROM outbox WHERE body <> ''") == [
        "new",
        "waits",
    ]
    assert not await enqueue(connection, message("old"))


async def test_a_timer_is_held_by_one_and_runs_once(connection: Connection, outbox: Outbox) -> None:
    due = datetime(2026, 10, 5, 1, tzinfo=UTC)
    await set_timer(connection, Timer("report:m:2026-09", due))
    await set_timer(connection, Timer("report:m:2026-09", due + timedelta(hours=1)))
    await set_timer(connection, Timer("report:my:2026-09", due))
    assert await pending_timers(connection, "report:m:") == [Timer("report:m:2026-09", due + timedelta(hours=1))]
    async with outbox.connection() as other, connection.transaction():
        assert await claim_timer(connection, "report:m:2026-09")
        assert not await claim_timer(other, "report:m:2026-09")
        await finish_timer(connection, "report:m:2026-09", "made")
    assert not await claim_timer(connection, "report:m:2026-09")
    await set_timer(connection, Timer("report:m:2026-09", due))
    assert await pending_timers(connection, "report:m:") == []


async def test_a_database_that_is_away_is_told_within_a_bounded_wait() -> None:
    away = Outbox("postgresql://nobody@127.0.0.1:1/nowhere")
    with pytest.raises(DependencyUnavailable):
        await away.claim()
    await away.close()
