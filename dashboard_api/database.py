"""Does the database answer, and how is it asked?

The feed holds a connection all the time and so is the first to notice; it alone says whether the database is up or
away. Requests use a pool, wait a bounded time, and are refused at once while the database is known to be away.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from dashboard_api import metrics
from dashboard_api.config import DashboardConfig
from dashboard_api.messages import DatabaseState
from schemas.errors import DependencyUnavailable

# Texts, for asyncpg's classes take a parameter only when types are checked.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Reader: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

AWAY_ERRORS: tuple[type[BaseException], ...] = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.UndefinedTableError,
    asyncpg.ObjectInUseError,
)
"""What an exchange raises when the database is not there, starts, stops, is full, or has no tables yet."""

_RELEASE_TIMEOUT_S = 0.5  # a connection that cannot be reset in this time is cut
_IDLE_S = 60.0  # an unused connection is closed after it


class Database:
    """One database, seen from one process. It is usable before the database is."""

    def __init__(self, config: DashboardConfig) -> None:
        self._url = config.database_url
        self._now = config.now
        self._bounds = config.bounds
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._tried = asyncio.Event()
        self._listeners: list[Callable[[DatabaseState], None]] = []
        self.state = DatabaseState(state="away", since=config.now(), detail="not connected yet")

    def on_change(self, listener: Callable[[DatabaseState], None]) -> None:
        """Calls `listener` whenever the database comes or goes."""
        self._listeners.append(listener)

    def came(self) -> None:
        """The feed has reached it."""
        metrics.DATABASE_UP.set(1)
        if self.state.state != "up":
            self._become(DatabaseState(state="up", since=self._now()))

    def went(self, error: BaseException) -> None:
        """The feed cannot reach it."""
        metrics.DATABASE_UP.set(0)
        detail = _detail(error)
        since = self.state.since if self.state.state == "away" else self._now()
        changed = self.state.state == "up" or not self._tried.is_set()
        state = DatabaseState(state="away", since=since, detail=detail)
        if changed:
            self._become(state)
        else:
            self.state = state

    async def connect(self) -> Connection:
        """A connection of one's own, outside the pool."""
        connection: Connection = await asyncpg.connect(
            self._url,
            timeout=self._bounds.feed_timeout_s,
            command_timeout=self._bounds.feed_timeout_s,
            server_settings={"application_name": "ioc dashboard feed"},
        )
        return connection

    @asynccontextmanager
    async def reading(self, query: str) -> AsyncGenerator[Reader]:
        """A connection from the pool for one answer, timed under the name `query`. Raises DependencyUnavailable."""
        started_s = time.perf_counter()
        try:
            async with asyncio.timeout(self._bounds.answer_timeout_s):
                await self._tried.wait()
                if self.state.state == "away":
                    raise DependencyUnavailable("database", self.state.detail or "no answer")
                pool = await self._opened()
                connection = await pool.acquire()
                try:
                    yield connection
                except BaseException:
                    # A frozen server would never answer the reset of a connection, so it is cut instead.
                    connection.terminate()
                    raise
                finally:
                    await pool.release(connection, timeout=_RELEASE_TIMEOUT_S)
        except AWAY_ERRORS as error:
            raise DependencyUnavailable("database", _detail(error)) from error
        finally:
            metrics.QUERY_S.labels(query).observe(time.perf_counter() - started_s)

    async def close(self) -> None:
        """Cuts all connections."""
        if self._pool is not None:
            self._pool.terminate()

    async def _opened(self) -> "asyncpg.Pool[asyncpg.Record]":
        if self._pool is None:
            # With no connection to make at first this never waits, so two requests cannot both be here.
            self._pool = asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=self._bounds.pool_size,
                max_inactive_connection_lifetime=_IDLE_S,
                timeout=self._bounds.answer_timeout_s,
                command_timeout=self._bounds.answer_timeout_s,
                server_settings={"application_name": "ioc dashboard"},
            )
        return await self._pool

    def _become(self, state: DatabaseState) -> None:
        self.state = state
        self._tried.set()
        for listener in self._listeners:
            listener(state)


def _detail(error: BaseException) -> str:
    """One line for people. A password stands in the address, which asyncpg's messages do not repeat."""
    if isinstance(error, asyncpg.UndefinedTableError):
        return "the tables are missing: run `ioc migrate`"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__
