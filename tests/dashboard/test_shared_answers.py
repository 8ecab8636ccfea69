"""Is the database asked once for clients that come together, and does none of them miss anything by that?"""

import asyncio

import pytest

from dashboard_api.hub import Hub
from dashboard_api.position import Position
from dashboard_api.session import ReadRequest, Resumption, Snapshot
from dashboard_api.shared_answers import SharedAnswers
from dashboard_api.subscription import Subscription
from schemas.errors import DependencyUnavailable
from schemas.site import Site
from schemas.window import Tier
from tests.dashboard.centre import site


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
