"""How does a letter get its address, and to whom is it handed?

The address is looked up when the letter is sent, and is written nowhere: not into the outbox, not into a log.
"""

import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec

from schemas.channel import AnyChannel, FolderChannel
from schemas.errors import DependencyUnavailable, OperatorError
from schemas.personal import KeyRing
from schemas.site import Site
from streams.core.letters import CHANNEL, CITIZEN, PERSON, Letter, citizen_address, digest_letter
from streams.outbound.announcer import LETTERS, SQL
from streams.outbound.channels import SEND_TIMEOUT_S, Failure, Folder
from streams.outbound.senders import Parcel, Secret, fitted, sender_of
from streams.store.outbox import Claimed, Message, Outbox
from streams.store.personal import contact_of

_decode_letter = msgspec.json.Decoder(Letter).decode


class NobodyLeft(Exception):  # the caller says what that means
    """Whom the letter was for has been erased: there is nobody to tell, and nothing to put right."""


class Post:
    """The channel of letters: finds out where each goes, and hands it over."""

    def __init__(
        self,
        outbox: Outbox,
        site: Callable[[], Site],
        ring: KeyRing | None,
        secret: Secret,
        folder: Path,
        *,
        context: ssl.SSLContext | None = None,
        timeout_s: float = SEND_TIMEOUT_S,
    ) -> None:
        """Folders of channels lie in `folder`. `context` is for TLS; None: the system's authorities."""
        self._outbox = outbox
        self._site = site
        self._ring = ring
        self._secret = secret
        self._folder = Folder(folder)
        self._context = context
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(timeout=timeout_s, follow_redirects=False, trust_env=False)

    async def close(self) -> None:
        """Ends all connections."""
        await self._client.aclose()

    async def __call__(self, claimed: Claimed) -> Failure | None:
        """See `streams.outbound.channels.Channel`."""
        message = claimed.message
        id_ = message.channel.removeprefix(f"{LETTERS}:")
        site = self._site()
        channel = site.channels.of(id_)
        if channel is None:
            return Failure(reason=f"channels.toml has no channel {id_!r}", for_good=True)
        try:
            letter = _decode_letter(message.body)
        except msgspec.DecodeError:
            return Failure(reason="its words are not kept any more", for_good=True)
        try:
            letter = fitted(await self._whole(letter), channel)
            address = await self._address_of(site, channel, letter)
            secret = None if channel.secret is None else self._secret(channel.secret)
        except NobodyLeft:
            return None
        except (DependencyUnavailable, OperatorError) as error:
            return Failure(reason=str(error))
        if address is None:
            return Failure(reason=f"{letter.to} has no address for {id_!r}", for_good=True)
        sender = sender_of(channel, self._client, self._context, self._timeout_s)
        if sender is None:
            assert isinstance(channel, FolderChannel)
            return await self._folder(Claimed(_file(message, channel, address, letter), claimed.attempt))
        return await sender(Parcel(id=message.id, address=address, letter=letter, secret=secret))

    async def _whole(self, letter: Letter) -> Letter:
        """The letter with all that goes into it: a digest is put together when it is sent."""
        if letter.digest is None:
            return letter
        async with self._outbox.connection() as connection:
            rows = await connection.fetch(SQL["read_lines"], letter.digest)
        return digest_letter(letter, [row["text"] for row in rows])

    async def _address_of(self, site: Site, channel: AnyChannel, letter: Letter) -> str | None:
        """Where the letter goes; None where that is not known. Raises NobodyLeft."""
        to = letter.to
        if to.startswith(CHANNEL):
            return ""
        if to.startswith(PERSON):
            person = site.people.get(to.removeprefix(PERSON))
            return None if person is None else person.address.get(channel.id)
        if not to.startswith(CITIZEN) or self._ring is None:
            return None
        pseudonym = to.removeprefix(CITIZEN)
        async with self._outbox.connection() as connection:
            reporter = await contact_of(connection, self._ring, pseudonym)
        address = None if reporter is None else citizen_address(channel, pseudonym, reporter)
        if address is None:
            raise NobodyLeft
        return address


def _file(message: Message, channel: FolderChannel, address: str, letter: Letter) -> Message:
    """A letter as a file, for whoever looks what would be sent."""
    body = {"to": letter.to, "address": address, **msgspec.to_builtins(letter)}
    return Message(
        id=f"{message.id}.json",
        channel=message.channel,
        target=channel.path,
        content_type="application/json",
        body=msgspec.json.format(msgspec.json.encode(body), indent=2),
    )
