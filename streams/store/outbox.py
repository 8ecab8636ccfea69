"""What waits to go out of the centre, and what has to happen at a time?

Both are rows, so that they survive every restart and whoever is up takes them over. Functions that take a connection
write in their caller's transaction: what causes a message and the message itself are there together, or not at all.
"""

import random
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.resources import files
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from schemas.errors import DependencyUnavailable, OperatorError
from schemas.statements import parse_statements, together
from streams.core.consequence import Outgoing

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

LOG_CHANNEL = "kafka"
"""The channel of what goes onto the log. A row's target is the topic, a slash and the record's key."""

NOTICE_CHANNEL = "notice"
"""The channel of what has to be told to somebody. The body is a `streams.core.notice.Notice` as JSON."""

ATTEMPTS_MAX = 12
"""After so many the row stays as it is, unsent: with the waits between them that is more than a day."""

BACKOFF_FIRST_S = 15.0
BACKOFF_MAX_S = 4 * 60 * 60.0
BACKOFF_JITTER = 0.2
"""The share by which a wait is shorter or longer, so that what failed at one moment does not come back at one."""

LEASE_S = 120.0
"""How long a row belongs to who claimed it, before another may. Longer than claiming, sending and noting take."""

BODY_BYTES_MAX = 32 * 1024 * 1024
"""A larger message is refused when it is put in."""

ERROR_CHARS_MAX = 300
"""Of what a receiver says about a failure so much is kept."""

CONNECTIONS_MAX = 6
COMMAND_TIMEOUT_S = 60.0
"""A statement that takes longer counts as a database that is away. The figures of a year may take a while."""

CONNECT_TIMEOUT_S = 5.0

AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What says that the database does not answer."""

SQL = parse_statements((files("streams.store") / "outbox.sql").read_text())

_PUT_ON_LOG = together([SQL["put"], SQL["wake_log"]])


class Message(Struct, frozen=True, kw_only=True):
    """What goes to one receiver. The id is what it is known by there too: the same cause gives the same id.

    Before `due_at` it is not sent.
    """

    id: str
    channel: str
    target: str
    content_type: str
    body: bytes
    due_at: datetime | None = None


class Claimed(Struct, frozen=True):
    """A message to send now; this is attempt number `attempt`."""

    message: Message
    attempt: int


class Unsent(Struct, frozen=True, kw_only=True):
    """A message that waits, or (`failed`) is not tried again."""

    id: str
    channel: str
    attempts: int
    last_error: str | None
    failed: bool


class Backlog(Struct, frozen=True, kw_only=True):
    """How many messages wait and how many were given up; `oldest_s` is how long one has been waiting."""

    waiting: int
    failed: int
    oldest_s: float


class Timer(Struct, frozen=True):
    """Something that has to happen at a time."""

    name: str
    due_at: datetime


async def enqueue(connection: Connection, message: Message) -> bool:
    """Puts a message in, in the caller's transaction. False when its id is there already: nothing is changed then.

    Raises OperatorError for one that is larger than BODY_BYTES_MAX.
    """
    if len(message.body) > BODY_BYTES_MAX:
        raise OperatorError(
            f"{message.id} has {len(message.body)} bytes; at most {BODY_BYTES_MAX} are sent.",
            "Split it into several.",
        )
    values = (message.id, message.channel, message.target, message.content_type, message.body, message.due_at)
    return await connection.fetchval(SQL["enqueue"], *values) is not None


async def put_on_log(connection: Connection, events: Sequence[Outgoing]) -> None:
    """Has events written to the log once the caller's transaction has committed. One that is there already stays."""
    if events:
        await connection.execute(
            _PUT_ON_LOG,
            [one.id for one in events],
            [LOG_CHANNEL] * len(events),
            [one.target for one in events],
            [one.body for one in events],
            True,
        )


async def pending_timers(connection: Connection, prefix: str) -> list[Timer]:
    """The timers that have not run and whose name begins so, the earliest first."""
    rows = await connection.fetch(SQL["read_pending_timers"], prefix)
    return [Timer(row["name"], row["due_at"]) for row in rows]


async def set_timer(connection: Connection, timer: Timer) -> None:
    """Has a timer run at its time. One of this name that has run stays as it is."""
    await connection.execute(SQL["set_timer"], timer.name, timer.due_at)


async def claim_timer(connection: Connection, name: str) -> bool:
    """Holds a timer until the caller's transaction ends. False: it has run, or somebody else is at it."""
    return await connection.fetchval(SQL["claim_timer"], name) is not None


async def finish_timer(connection: Connection, name: str, outcome: str) -> None:
    """Notes that it has run, and what came of it."""
    await connection.execute(SQL["finish_timer"], name, outcome)


def backoff_s(attempt: int, spread: float) -> float:
    """How long to wait after this attempt, from 1. `spread` in [-1, 1] says where within the jitter."""
    wait_s = min(BACKOFF_FIRST_S * 4.0 ** (attempt - 1), BACKOFF_MAX_S)
    return wait_s * (1 + BACKOFF_JITTER * spread)


class Outbox:
    """The outbox over a pool of connections. Opened lazily, so a database that is away does not stop the start.

    Every method raises DependencyUnavailable within a bounded wait.
    """

    def __init__(self, database_url: str) -> None:
        """Connects when it is first needed."""
        self._url = database_url
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def close(self) -> None:
        """Ends all connections without waiting for what is under way."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    async def claim(self, busy: Collection[str] = ()) -> Claimed | None:
        """Takes a message that is due, for LEASE_S, from any but the busy channels; None when nothing is."""
        async with self.connection() as connection:
            row = await connection.fetchrow(SQL["claim"], LEASE_S, ATTEMPTS_MAX, list(busy))
        if row is None:
            return None
        message = Message(
            id=row["id"],
            channel=row["channel"],
            target=row["target"],
            content_type=row["content_type"],
            body=row["body"],
        )
        return Claimed(message, row["attempts"])

    async def mark_sent(self, claimed: Claimed) -> None:
        """Notes that the receiver has it."""
        async with self.connection() as connection:
            await connection.execute(SQL["mark_sent"], claimed.message.id)

    async def mark_failed(self, claimed: Claimed, reason: str, *, for_good: bool, wait_s: float = 0.0) -> bool:
        """Notes that the attempt came to nothing. Returns whether it is tried again, in `wait_s` at the earliest."""
        again = not for_good and claimed.attempt < ATTEMPTS_MAX
        spread = random.uniform(-1, 1)  # noqa: S311 (nobody gains by guessing it)
        later_s = max(wait_s, backoff_s(claimed.attempt, spread)) if again else None
        async with self.connection() as connection:
            await connection.execute(
                SQL["mark_failed"], claimed.message.id, claimed.attempt, reason[:ERROR_CHARS_MAX], later_s
            )
        return again

    async def give_up(self) -> int:
        """Gives up rows whose last attempt ended with the process that made it. Returns how many."""
        return await self._change("give_up", ATTEMPTS_MAX)

    async def backlog(self) -> Backlog:
        """What is not sent."""
        async with self.connection() as connection:
            row = await connection.fetchrow(SQL["read_backlog"])
        assert row is not None
        return Backlog(waiting=row["waiting"], failed=row["failed"], oldest_s=row["oldest_s"])

    async def unsent(self, rows_max: int) -> list[Unsent]:
        """What is not sent, oldest first."""
        async with self.connection() as connection:
            rows = await connection.fetch(SQL["read_unsent"], rows_max)
        return [Unsent(**dict(row)) for row in rows]

    async def retry(self) -> int:
        """Tries again what was given up. Returns how many."""
        return await self._change("retry")

    async def forget_bodies(self, sent_ago_s: float, rows_max: int, *, about_cases: bool = False) -> int:
        """Empties what was sent so long ago: messages about cases, or all else. The ids stay. Returns how many."""
        return await self._change("forget_bodies", sent_ago_s, rows_max, about_cases)

    async def drop_given_up(self, made_ago_s: float, rows_max: int) -> int:
        """Forgets messages about cases that were given up and are so old. Returns how many."""
        return await self._change("drop_given_up", made_ago_s, rows_max)

    async def _change(self, statement: str, *values: object) -> int:
        """Runs a statement. Returns how many rows it changed."""
        async with self.connection() as connection:
            tag = await connection.execute(SQL[statement], *values)
        return int(tag.rsplit(" ", 1)[-1])

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """A connection, or DependencyUnavailable within a bounded wait."""
        try:
            if self._pool is None:
                # With no connection to make at first this never waits, so two senders cannot both be here.
                self._pool = asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=CONNECTIONS_MAX,
                    command_timeout=COMMAND_TIMEOUT_S,
                    timeout=CONNECT_TIMEOUT_S,
                    server_settings={
                        "application_name": "ioc-outbound",
                        "jit": "off",
                        # A server that loses power forgets the last claims and marks, all that came after a moment:
                        # what was sent then goes again with the same key, as after a killed process.
                        "synchronous_commit": "off",
                        "idle_in_transaction_session_timeout": f"{int(LEASE_S)}s",
                    },
                )
            pool = await self._pool
            async with pool.acquire(timeout=COMMAND_TIMEOUT_S) as connection:
                yield connection
        except AWAY as error:
            raise DependencyUnavailable("database", f"{type(error).__name__}: {error}") from error
