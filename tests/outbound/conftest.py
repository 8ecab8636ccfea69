"""What do the tests of sending share? An outbox in a real database, and a real receiver."""

from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from deploy.migrate import migrate_schema
from streams.store.outbox import Outbox
from tests.outbound.letter_world import close_all
from tests.outbound.receiver import Receiver, receiving


@pytest.fixture
async def url(database_url: str) -> str:
    """A database with all tables."""
    await migrate_schema(database_url)
    return database_url


@pytest.fixture
async def connection(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """What the tests look and change things with."""
    opened = await asyncpg.connect(url)
    yield opened
    await opened.close()


@pytest.fixture
async def outbox(url: str) -> AsyncIterator[Outbox]:
    """The outbox of that database."""
    made = Outbox(url)
    yield made
    await made.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A web server that takes what is sent."""
    with receiving() as server:
        yield server


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    """Leaves no connection of a channel open."""
    yield
    await close_all()
