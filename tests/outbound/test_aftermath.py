"""Are receipts kept once, whatever order they come in, and does a case learn what became of its messages?"""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.command import AddNote, OfferStepped
from schemas.event import AnyEvent, CaseCommand
from schemas.notice import Why
from schemas.site import Site
from streams.core.notice import to_unit
from streams.outbound.aftermath import Aftermath, Heard, Receipt
from streams.outbound.relay import Relay
from streams.store.outbox import Outbox
from tests.outbound.far_ends import Gateway, gateway
from tests.outbound.letter_world import (
    AT,
    FIRE,
    channels,
    letters,
    notice,
    now,
    put_case,
    put_notice,
    secret,
    send_all,
)
from tests.outbound.messages import Connection
from tests.schemas.channel_pack import CHANNELS, channel_site
from tests.streams.case_store import Store

OFFERED = notice(Why.ESCALATED, to_unit("a"), detail={"offer": 1, "unit": "a", "channel": "sms"})


class Desk:
    """A centre that has sent an offer by SMS."""

    def __init__(self, connection: Connection, outbox: Outbox, site: Site, far: Gateway, folder: Path) -> None:
        self.connection = connection
        self.site = site
        self.far = far
        self.relay = Relay(outbox, channels(outbox, site, folder))
        self.aftermath = Aftermath(outbox, lambda: site, secret, "test")
        self.sms = site.channels.channel[0]

    async def send(self) -> str:
        """The id of the message."""
        await put_case(self.connection, FIRE)
        await put_notice(self.connection, OFFERED)
        await send_all(self.relay)
        return self.far.keys[0]

    async def commands(self) -> list[CaseCommand]:
        """What waits to go onto the log."""
        rows = await self.connection.fetch("SELECT body FROM outbox WHERE channel = 'kafka' ORDER BY made_at, id")
        events: list[Any] = [msgspec.json.decode(row["body"], type=AnyEvent) for row in rows]
        return events

    async def receipts(self) -> list[tuple[str, str]]:
        """What is kept of them."""
        rows = await self.connection.fetch("SELECT message, kind FROM receipt ORDER BY 1, 2")
        return [(row["message"], row["kind"]) for row in rows]


@pytest.fixture
async def desk(connection: Connection, outbox: Outbox, tmp_path: Path) -> AsyncIterator[Desk]:
    with gateway() as far:
        text = CHANNELS.replace("https://sms.example.vn/receipts", far.receipts_address)
        text = text.replace("https://sms.example.vn/send", far.address)
        made = Desk(connection, outbox, channel_site(text), far, tmp_path)
        yield made
        await made.aftermath.close()


async def test_a_receipt_is_kept_once_and_is_the_units_receipt(desk: Desk) -> None:
    id_ = await desk.send()
    at = now() - timedelta(seconds=5)
    delivered = Receipt(id=id_, status=Heard.DELIVERED, at=at)
    assert await desk.aftermath.take(desk.sms, [delivered, delivered]) == 1
    assert await desk.aftermath.take(desk.sms, [delivered]) == 0
    (event,) = await desk.commands()
    assert event.data.do == OfferStepped(offer=1, step="delivered")
    assert (event.subject, event.source, event.time) == ("c", "ioc.streams", at)
    assert event.data.actor.roles == ("system",)


async def test_receipts_in_the_wrong_order_are_both_kept(desk: Desk) -> None:
    id_ = await desk.send()
    for status in (Heard.READ, Heard.DELIVERED):
        assert await desk.aftermath.take(desk.sms, [Receipt(id=id_, status=status)]) == 1
    steps = [event.data.do.step for event in await desk.commands() if isinstance(event.data.do, OfferStepped)]
    assert steps == ["seen", "delivered"]


async def test_receipts_are_read_page_by_page_and_not_again(desk: Desk) -> None:
    id_ = await desk.send()
    desk.far.receipts = [
        {"id": id_, "status": "delivered", "at": "2026-03-09T02:00:05Z"},
        {"id": "m-of-somebody-else", "status": "delivered"},
        {"id": id_, "status": "delivered", "at": "2026-03-09T02:00:09Z"},
        {"id": id_, "status": "read"},
        {"id": "another", "status": "read"},
    ]
    await desk.aftermath.look()
    assert await desk.receipts() == [(id_, "delivered"), (id_, "read")]
    assert await desk.connection.fetchval("SELECT cursor FROM receipt_cursor WHERE channel = 'sms'") == "5"
    # A late one.
    desk.far.receipts.append({"id": id_, "status": "played"})
    await desk.aftermath.look()
    assert len(await desk.receipts()) == 3
    assert len({event.id for event in await desk.commands()}) == len(await desk.commands())


async def test_a_receipt_from_next_year_counts_as_of_now(desk: Desk) -> None:
    id_ = await desk.send()
    await desk.aftermath.take(desk.sms, [Receipt(id=id_, status=Heard.DELIVERED, at=now() + timedelta(days=365))])
    (event,) = await desk.commands()
    assert event.time <= now() + timedelta(minutes=1)


async def test_a_receipt_from_before_the_message_counts_as_of_the_message(desk: Desk) -> None:
    id_ = await desk.send()
    long_ago = now() - timedelta(days=365 * 100)
    await desk.aftermath.take(desk.sms, [Receipt(id=id_, status=Heard.DELIVERED, at=long_ago)])
    (event,) = await desk.commands()
    assert event.time == AT


async def test_a_channel_gives_receipts_of_its_own_messages_alone(desk: Desk) -> None:
    id_ = await desk.send()
    partner = desk.site.channels.of("partner")
    assert partner is not None
    assert await desk.aftermath.take(partner, [Receipt(id=id_, status=Heard.DELIVERED)]) == 0
    assert await desk.receipts() == []


async def test_a_receipt_that_comes_after_the_words_are_gone_is_kept_all_the_same(desk: Desk) -> None:
    id_ = await desk.send()
    await desk.connection.execute("UPDATE outbox SET body = ''")
    assert await desk.aftermath.take(desk.sms, [Receipt(id=id_, status=Heard.DELIVERED)]) == 1
    assert await desk.commands() == []


async def test_taken_and_then_not_delivered_is_a_dead_end_that_the_case_learns_of(desk: Desk) -> None:
    id_ = await desk.send()
    failed = Receipt(id=id_, status=Heard.FAILED, detail="number not in service")
    assert await desk.aftermath.take(desk.sms, [failed]) == 1
    assert await desk.aftermath.tell_dead_ends() == 1
    assert await desk.aftermath.tell_dead_ends() == 0
    (event,) = await desk.commands()
    note = event.data.do
    assert isinstance(note, AddNote)
    assert note.text == (
        "Không gửi được tin “escalated” tới unit:a qua kênh sms: taken, but not delivered: number not in service."
    )
    ((_, _, one),) = await letters(desk.connection)
    assert one["given_up"]


async def test_a_message_that_is_given_up_is_told_its_case_once(desk: Desk) -> None:
    desk.far.does = ["400"] * 2
    await desk.send()
    assert await desk.aftermath.tell_dead_ends() == 1
    await desk.connection.execute(
        "UPDATE outbox SET attempts = 0, due_at = clock_timestamp() WHERE channel <> 'kafka'"
    )
    await send_all(desk.relay)
    assert await desk.aftermath.tell_dead_ends() == 0
    assert len(await desk.commands()) == 1


async def test_the_workers_take_what_it_puts_onto_the_log(desk: Desk, url: str) -> None:
    id_ = await desk.send()
    await desk.aftermath.take(desk.sms, [Receipt(id=id_, status=Heard.DELIVERED)])
    await desk.aftermath.take(desk.sms, [Receipt(id=id_, status=Heard.FAILED)])
    await desk.aftermath.tell_dead_ends()
    store = Store(url, desk.connection)
    try:
        # As it would come off the log.
        await store.take(*(msgspec.structs.replace(one, received_at=now()) for one in await desk.commands()))
        stored = await store.case("c")
        assert stored.offers[0].step == "delivered"
        assert [action for _, action in await store.timeline("c")] == ["unit_delivered", "note"]
        assert set((await store.outcomes()).values()) == {"applied"}
    finally:
        await store.writer.close()


@pytest.mark.parametrize(
    "does",
    [
        pytest.param("no json", id="no JSON"),
        pytest.param('{"receipts":"x"}', id="no list"),
        pytest.param('{"receipts":[{"id":"m\\u0000","status":"read"}]}', id="what no table can hold"),
        pytest.param('{"receipts":[],"next":"\\u0000"}', id="a cursor that no table can hold"),
        pytest.param('{"receipts":[{"id":"m","status":"eaten"}]}', id="a word that there is not"),
        pytest.param('{"receipts":[{"id":"m","status":"read","at":"2026-03-09T02:00:00"}]}', id="a time of nowhere"),
    ],
)
async def test_an_address_that_answers_nonsense_does_no_harm(
    desk: Desk, does: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.send()
    answer = desk.far.RequestHandlerClass.do_GET  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setattr(desk.far.RequestHandlerClass, "do_GET", lambda handler: handler._answer(200, does))
    await desk.aftermath.look()
    monkeypatch.setattr(desk.far.RequestHandlerClass, "do_GET", answer)
    await desk.aftermath.look()
    assert await desk.receipts() == []
