"""What is sent in tests, and how is it put in and looked at?"""

from typing import Any

import asyncpg

from streams.store.outbox import Message, enqueue

Connection = Any  # asyncpg.Connection, with whatever a row holds


def message(id_: str = "r.1.json", channel: str = "webhook", target: str = "", body: bytes = b"{}") -> Message:
    """One message."""
    return Message(id=id_, channel=channel, target=target, content_type="application/json", body=body)


async def put(connection: Connection, *messages: Message) -> None:
    """Puts messages in, all or none."""
    async with connection.transaction():
        for one in messages:
            assert await enqueue(connection, one)


async def row(connection: Connection, id_: str) -> asyncpg.Record:
    """What the outbox says of a message."""
    found = await connection.fetchrow(
        """SELECT attempts, last_error, sent_at IS NOT NULL AS sent, due_at = 'infinity' AS given_up,
        extract(epoch FROM due_at - clock_timestamp())::float8 AS due_in_s FROM outbox WHERE id = $1""",
        id_,
    )
    assert found is not None
    return found


async def make_due(connection: Connection) -> None:
    """Lets leases and waits be over."""
    await connection.execute("UPDATE outbox SET due_at = clock_timestamp() WHERE due_at < 'infinity'")
