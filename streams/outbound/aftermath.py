"""What is heard of messages after they were sent, and who learns that one was given up?

Channels give receipts: by a topic of a broker, or at an address that is asked. Each is kept once, however often it
comes. What it means for a case goes onto the log like everything else about cases: that a unit has an offer, and that
a message could not be sent.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, NamedTuple

import aiomqtt
import httpx
import msgspec
from msgspec import Meta, Struct

from schemas.area_id import AreaId
from schemas.case import Case
from schemas.channel import AnyChannel, LoudspeakerChannel, MqttChannel, SmsChannel
from schemas.command import AddNote, AnyAction, OfferStepped
from schemas.errors import DependencyUnavailable, OperatorError
from schemas.site import Site
from streams.core.consequence import outgoing, own_command
from streams.core.letters import Letter, not_sent
from streams.core.scene import Following
from streams.outbound import metrics
from streams.outbound.announcer import SQL
from streams.outbound.senders import Secret, mqtt_client, refused_credentials
from streams.store.outbox import Connection, Outbox, put_on_log

LOOK_S = 5.0
"""Between two looks for what was given up, and for receipts at addresses."""

SUBSCRIBE_AGAIN_S = 10.0
"""Between two attempts to listen to a broker that does not answer."""

DEAD_ENDS_MAX = 100
RECEIPTS_BYTES_MAX = 1024 * 1024
ASK_TIMEOUT_S = 15.0
PAGES_MAX = 50
"""Pages of receipts at one look. The rest is there at the next."""

CURSOR_CHARS_MAX = 500
LINES_KEPT_S = 7 * 24 * 60 * 60.0

_NO_NUL = r"^[^\x00]*\Z"
"""PostgreSQL's texts cannot hold it: what has it is unreadable, rather than a database that is away."""

_log = logging.getLogger("ioc.outbound")


class Heard(StrEnum):
    """What a channel says of a message."""

    DELIVERED = "delivered"
    PLAYED = "played"
    READ = "read"
    FAILED = "failed"


class Receipt(Struct, frozen=True, kw_only=True):
    """One receipt, as it comes: the message's id, what became of it, and when."""

    id: Annotated[str, Meta(max_length=128, pattern=_NO_NUL)]
    status: Heard
    at: Annotated[datetime, Meta(tz=True)] | None = None
    detail: Annotated[str, Meta(max_length=300, pattern=_NO_NUL)] = ""


class _Page(Struct, frozen=True, kw_only=True):
    """What an address answers that is asked for receipts. `next` is said when it is asked the next time."""

    receipts: Annotated[list[Receipt], Meta(max_length=10_000)]
    next: Annotated[str, Meta(max_length=CURSOR_CHARS_MAX, pattern=_NO_NUL)] | None = None


class _Listening(NamedTuple):
    channel: AnyChannel
    task: asyncio.Task[None]


_decode_case = msgspec.json.Decoder(Case).decode
_decode_letter = msgspec.json.Decoder(Letter).decode
_decode_page = msgspec.json.Decoder(_Page).decode
_decode_receipt = msgspec.json.Decoder(Receipt).decode


class Aftermath:
    """Takes receipts, and tells cases of dead ends. Several, in any number of processes, do no harm."""

    def __init__(
        self,
        outbox: Outbox,
        site: Callable[[], Site],
        secret: Secret,
        name: str,
        *,
        context: ssl.SSLContext | None = None,
        look_s: float = LOOK_S,
    ) -> None:
        """`site` gives the site pack in force. Brokers know this process by `name`, again after a restart."""
        self._outbox = outbox
        self._site = site
        self._secret = secret
        self._name = name
        self._context = context
        self._look_s = look_s
        self._client = httpx.AsyncClient(timeout=ASK_TIMEOUT_S, follow_redirects=False, trust_env=False)
        self._said: dict[str, str] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set."""
        listening: dict[str, _Listening] = {}
        try:
            while not stop.is_set():
                await self._keep_listening(listening)
                with contextlib.suppress(DependencyUnavailable):  # the relay says so
                    await self.look()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._look_s):
                        await stop.wait()
        finally:
            for one in listening.values():
                one.task.cancel()
            await asyncio.gather(*(one.task for one in listening.values()), return_exceptions=True)
            await self.close()

    async def close(self) -> None:
        """Ends all connections."""
        await self._client.aclose()

    async def look(self) -> None:
        """One look at what was given up, and at addresses that give receipts. Raises DependencyUnavailable."""
        while await self.tell_dead_ends() == DEAD_ENDS_MAX:
            pass
        async with self._outbox.connection() as connection:
            await connection.execute(SQL["drop_lines"], LINES_KEPT_S)
        for channel in self._site().channels.channel:
            if (address := _asked(channel)) is not None:
                await self._ask(channel, address)

    async def tell_dead_ends(self) -> int:
        """Tells cases of messages that were given up. Returns how many. Raises DependencyUnavailable."""
        site = self._site()
        async with self._outbox.connection() as connection, connection.transaction():
            rows = await connection.fetch(SQL["read_dead_ends"], DEAD_ENDS_MAX)
            for row in rows:
                id_, channel, reason = row["id"], row["channel"].partition(":")[2], row["reason"]
                await connection.execute(SQL["note_dead_end"], id_, channel, row["now"], reason)
                metrics.DEAD_ENDS.labels(channel).inc()
                try:
                    letter = _decode_letter(row["body"])
                except msgspec.DecodeError:
                    continue
                note = AddNote(text=not_sent(site, letter, channel, reason))
                await _put_command(connection, site, f"not_sent:{id_}", letter, note, row["now"], row["now"])
        return len(rows)

    async def take(self, channel: AnyChannel, receipts: Iterable[Receipt]) -> int:
        """Keeps receipts of a channel's own messages. Returns how many were new. Raises DependencyUnavailable."""
        site, new = self._site(), 0
        async with self._outbox.connection() as connection, connection.transaction():
            # In one order, so that two processes that take the same ones do not lock each other out.
            for receipt in sorted(receipts, key=lambda one: (one.id, one.status)):
                new += await self._take_one(connection, site, channel, receipt)
        return new

    async def _take_one(self, connection: Connection, site: Site, channel: AnyChannel, receipt: Receipt) -> bool:
        row = await connection.fetchrow(
            SQL["put_receipt"], receipt.id, receipt.status, channel.id, receipt.at, receipt.detail
        )
        metrics.RECEIPTS.labels(channel.id, "ignored" if row is None else receipt.status.value).inc()
        if row is None:
            return False
        if receipt.status is Heard.FAILED:
            reason = f"taken, but not delivered: {receipt.detail}" if receipt.detail else "taken, but not delivered"
            await connection.execute(SQL["fail_sent"], receipt.id, reason)
            return True
        try:
            letter = _decode_letter(row["body"])
        except msgspec.DecodeError:
            return True  # so late that its words are gone; the receipt is kept
        if letter.unit is not None and letter.offer is not None:
            step = "seen" if receipt.status is Heard.READ else "delivered"
            action = OfferStepped(offer=letter.offer, step=step)
            id_ = f"receipt:{receipt.id}:{receipt.status}"
            # Nothing was heard of a message before there was one, whatever a clock over there says.
            at = max(row["at"], letter.at)
            await _put_command(connection, site, id_, letter, action, at, row["now"])
        return True

    async def _ask(self, channel: AnyChannel, address: str) -> None:
        """Reads on at an address that gives receipts, page by page. Raises DependencyUnavailable."""
        for _ in range(PAGES_MAX):
            async with self._outbox.connection() as connection:
                cursor = await connection.fetchval(SQL["read_cursor"], channel.id)
            page = await self._page(channel, address, cursor)
            if page is None:
                return
            await self.take(channel, page.receipts)
            if page.next is None or page.next == cursor:
                return
            async with self._outbox.connection() as connection:
                await connection.execute(SQL["put_cursor"], channel.id, page.next)
            if not page.receipts:
                return

    async def _page(self, channel: AnyChannel, address: str, cursor: str | None) -> _Page | None:
        """One page; None where there is none, of which the log says why, once."""
        try:
            headers: dict[str, str] = {}
            if channel.secret is not None:
                headers["Authorization"] = f"Bearer {self._secret(channel.secret).decode('latin-1')}"
            params = {} if cursor is None else {"after": cursor}
            said = b""
            async with (
                asyncio.timeout(ASK_TIMEOUT_S),
                self._client.stream("GET", address, headers=headers, params=params) as answer,
            ):
                answer.raise_for_status()
                async for chunk in answer.aiter_bytes():
                    said += chunk
                    if len(said) > RECEIPTS_BYTES_MAX:
                        return self._say(channel, f"more than {RECEIPTS_BYTES_MAX} bytes")
            page = _decode_page(said)
        except httpx.HTTPStatusError as error:
            return self._say(channel, f"answered {error.response.status_code}")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return self._say(channel, type(error).__name__)
        except (msgspec.DecodeError, OperatorError, UnicodeEncodeError) as error:
            return self._say(channel, str(error))
        self._said.pop(channel.id, None)
        return page

    def _say(self, channel: AnyChannel, problem: str) -> None:
        """One line for each problem, not one for each look."""
        if self._said.get(channel.id) != problem:
            _log.warning("the receipts of %s cannot be read: %s", channel.id, problem)
            self._said[channel.id] = problem

    async def _keep_listening(self, listening: dict[str, _Listening]) -> None:
        """Listens to the topics that the site pack names now."""
        wanted = {channel.id: channel for channel in self._site().channels.channel if _listened(channel) is not None}
        for id_ in [id_ for id_, one in listening.items() if wanted.get(id_) != one.channel or one.task.done()]:
            ended = listening.pop(id_)
            ended.task.cancel()
            (outcome,) = await asyncio.gather(ended.task, return_exceptions=True)
            if isinstance(outcome, Exception):
                _log.error("listening to the receipts of %s broke", id_, exc_info=outcome)
        for id_, channel in wanted.items():
            if id_ not in listening:
                listening[id_] = _Listening(channel, asyncio.create_task(self._listen(channel)))

    async def _listen(self, channel: AnyChannel) -> None:
        """Takes receipts off a topic, for ever. A broker keeps them for us while we are away."""
        assert isinstance(channel, MqttChannel | LoudspeakerChannel)
        topic = channel.receipts or ""
        while True:
            try:
                secret = None if channel.secret is None else self._secret(channel.secret)
                client = mqtt_client(
                    channel.address,
                    channel.user,
                    secret,
                    self._context,
                    identifier=f"ioc-receipts-{channel.id}-{self._name}",
                    clean_session=False,
                )
                async with client:
                    await client.subscribe(topic, qos=1)
                    self._said.pop(channel.id, None)
                    async for message in client.messages:
                        await self._hear(channel, message.payload)
            except aiomqtt.MqttError as error:
                self._say(channel, "it refuses our credentials" if refused_credentials(error) else str(error))
            except (OSError, TimeoutError, OperatorError, DependencyUnavailable) as error:
                self._say(channel, str(error) or type(error).__name__)
            await asyncio.sleep(SUBSCRIBE_AGAIN_S)

    async def _hear(self, channel: AnyChannel, payload: object) -> None:
        """One receipt off a topic; while the database is away it waits, and the broker with it."""
        if not isinstance(payload, bytes | bytearray) or len(payload) > RECEIPTS_BYTES_MAX:
            return
        try:
            receipt = _decode_receipt(payload)
        except msgspec.DecodeError:
            metrics.RECEIPTS.labels(channel.id, "unreadable").inc()
            return
        while True:
            try:
                await self.take(channel, [receipt])
            except DependencyUnavailable:
                await asyncio.sleep(self._look_s)
            else:
                return


def _asked(channel: AnyChannel) -> str | None:
    """The address that is asked for a channel's receipts."""
    if isinstance(channel, SmsChannel) or (isinstance(channel, LoudspeakerChannel) and channel.topic is None):
        return channel.receipts
    return None


def _listened(channel: AnyChannel) -> str | None:
    """The topic on which a channel's receipts come."""
    if isinstance(channel, MqttChannel) or (isinstance(channel, LoudspeakerChannel) and channel.topic is not None):
        return channel.receipts
    return None


async def _put_command(
    connection: Connection, site: Site, id_: str, letter: Letter, action: AnyAction, at: datetime, now: datetime
) -> None:
    """Has the case learn of it, in the caller's transaction. A digest is about many, and about none of them."""
    if letter.case is None:
        return
    row = await connection.fetchrow(SQL["read_case"], letter.case)
    if row is None:
        return
    case = _decode_case(row["body"])
    asked = Following(case.id, AreaId(case.area), action)
    await put_on_log(connection, [outgoing(own_command(site.areas, id_, asked, at, now, exercise=case.exercise))])
