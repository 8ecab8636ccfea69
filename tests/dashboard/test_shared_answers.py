"""Is the database asked once for clients that come together, and does none of them miss anything by that?"""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec import ValidationError

from dashboard_api import live_client
from dashboard_api.config import Bounds
from dashboard_api.hub import Hub
from dashboard_api.live_client import LiveClient, Sources
from dashboard_api.position import Position
from dashboard_api.session import Phase, ReadRequest, Resumption, Snapshot
from dashboard_api.shared_answers import SharedAnswers
from dashboard_api.subscription import Subscription
from schemas.errors import DependencyUnavailable
from schemas.site import Site
from schemas.window import Tier
from tests.dashboard.centre import site, utc_now


def request(area: str = "00") -> ReadRequest:
    """What a client asks."""
    wish = Subscription(kpis=("k",), areas=(area,), tier=Tier.DAY, points=1, events=0, sources=False)  # type: ignore[arg-type]
    return ReadRequest(1, wish, None)


class Asked:
    """A database that answers when it is told to, as of then or of an earlier moment."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.hub.position = Position(1, 10)
        self.site: Site = site()
        self.questions: list[asyncio.Future[Snapshot | Resumption]] = []
        self.answers = SharedAnswers(self.hub, lambda: self.site, self._ask)

    async def _ask(self, _: ReadRequest) -> Snapshot | Resumption:
        question = asyncio.get_running_loop().create_future()
        self.questions.append(question)
        return await question

    def come(self, one: ReadRequest) -> "asyncio.Task[Snapshot | Resumption]":
        """A client asks."""
        return asyncio.create_task(self.answers.answer(one))

    def answer(self, number: int, xid: int) -> None:
        """The database answers."""
        position = Position(1, xid)
        self.questions[number].set_result(Snapshot(position=position, reason=None, series=(), events=(), sources=()))


async def turn() -> None:
    """Lets all tasks go on as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_asks_the_same_meanwhile_gets_the_same_answer() -> None:
    asked = Asked()
    clients = [asked.come(request()) for _ in range(20)]
    await turn()
    elsewhere = asked.come(request("01"))
    await turn()
    assert len(asked.questions) == 2
    asked.answer(0, 10)
    asked.answer(1, 10)
    first, *others = [await client for client in clients]
    assert all(other is first for other in others)
    assert await elsewhere is not first
    asked.come(request()).cancel()
    late = asked.come(request())
    await turn()
    assert len(asked.questions) == 3, "an answer that has been given is not kept"
    asked.answer(2, 11)
    assert await late is not first


async def test_an_answer_from_before_the_feed_told_of_a_change_does_not_do() -> None:
    asked = Asked()
    early = asked.come(request())
    await turn()
    asked.hub.position = Position(1, 12)
    late = [asked.come(request()) for _ in range(5)]
    await turn()
    assert len(asked.questions) == 1
    asked.answer(0, 11)
    await turn()
    assert (await early).position == Position(1, 11)
    # One question more, for all who came too late for the first.
    assert len(asked.questions) == 2
    asked.answer(1, 12)
    assert {(await client).position for client in late} == {Position(1, 12)}


async def test_who_leaves_takes_the_answer_from_nobody_and_an_error_is_everybodys() -> None:
    asked = Asked()
    leaves, stays = asked.come(request()), asked.come(request())
    await turn()
    leaves.cancel()
    await turn()
    asked.answer(0, 10)
    assert (await stays).position == Position(1, 10)
    clients = [asked.come(request()) for _ in range(2)]
    await turn()
    asked.questions[1].set_exception(DependencyUnavailable("database", "away"))
    for client in clients:
        with pytest.raises(DependencyUnavailable):
            await client


async def test_another_site_pack_is_another_question() -> None:
    asked = Asked()
    clients = [asked.come(request())]
    await turn()
    asked.site = site()
    clients.append(asked.come(request()))
    await turn()
    assert len(asked.questions) == 2
    for number in range(2):
        asked.answer(number, 10)
    assert len({id(await client) for client in clients}) == 2


async def test_an_answer_from_before_what_the_feed_is_reading_does_not_do() -> None:
    asked = Asked()
    left = asked.come(request())
    await turn()
    left.cancel()
    await turn()
    # The feed reads what changed for nobody, and only then the next client comes.
    asked.hub.begin_reading(Position(1, 11), 0.0)
    late = asked.come(request())
    await turn()
    asked.answer(0, 10)
    await turn()
    assert not late.done()
    asked.answer(1, 11)
    assert (await late).position == Position(1, 11)


async def test_a_question_that_fails_is_said_and_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live_client, "RETRY_READ_S", 0.0)
    asked = Asked()
    database: Any = SimpleNamespace(state=SimpleNamespace(state="up"))
    here, nobody = site(), cast("Any", None)
    config: Any = SimpleNamespace(bounds=Bounds(), site=here, now=utc_now, current_site=lambda: here)
    client = LiveClient(Sources(config, database, asked.hub, nobody, asked.answers), nobody, nobody)
    client.begin()
    client.subscribe(request("01").subscription)
    for number in range(3):
        client.take()
        await turn()
        assert len(asked.questions) == number + 1
        if number < 2:
            asked.questions[number].set_exception(ValidationError("a row of a newer release"))
            await turn()
    asked.answer(2, 10)
    await turn()
    assert client.session.phase is Phase.LIVE
    assert caplog.text.count("could not be answered") == 2
    client.end()
