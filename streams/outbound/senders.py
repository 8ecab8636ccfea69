"""How is a letter handed to each kind of channel?

Each sender tries once and says how it went; all of them give the letter's id along, by which the far end knows one
that comes again. Credentials that are refused may be put right, so that they do not end a letter; an address that is
refused does.
"""

import base64
import email.policy
import ssl
import time
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import format_datetime, formataddr
from typing import Protocol
from urllib.parse import urlsplit

import aiomqtt
import aiosmtplib
import httpx
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from schemas.channel import (
    AnyChannel,
    LoudspeakerChannel,
    MailChannel,
    MqttChannel,
    SmsChannel,
    WebhookChannel,
    ZaloChannel,
)
from schemas.notice_text import one_line, shortened
from schemas.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, signature
from streams.core.letters import Letter
from streams.outbound.channels import IDEMPOTENCY_HEADER, SEND_TIMEOUT_S, Failure, post

ANSWER_BYTES_MAX = 64 * 1024
CREDENTIALS_WAIT_S = 300.0
"""Credentials that were refused are tried again after this: somebody has to put them right."""

ZALO_FOR_GOOD = frozenset({-213, -230})
"""Answers of Zalo's that stay: the person does not follow the account, or has not written to it for a week."""

_SUBJECT_CHARS = 200
_MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883}
_SMTP_PORTS = {"smtp": 587, "smtps": 465}
_DENIED = frozenset({401, 403})
_REFUSED_BY_BROKER = frozenset({4, 5, 134, 135})
"""MQTT 3.1.1 and 5.0: bad user name or password, not authorized."""

Secret = Callable[[str], bytes]
"""What a reference stands for. Raises OperatorError."""


class Parcel(Struct, frozen=True, kw_only=True):
    """A letter on its way: its id, and where to. `secret` is the channel's, and is shown to nobody."""

    id: str
    address: str
    letter: Letter
    secret: bytes | None = None


class Sender(Protocol):
    """Hands over one parcel. None: the far end has it. Ends within SEND_TIMEOUT_S or so."""

    async def __call__(self, parcel: Parcel) -> Failure | None:
        """Tries once."""
        ...


class Mail:
    """SMTP (RFC 5321). The message's id is made of the letter's: mailboxes drop what they have."""

    def __init__(self, channel: MailChannel, context: ssl.SSLContext | None, timeout_s: float) -> None:
        self._channel = channel
        self._context = context
        self._timeout_s = timeout_s

    async def __call__(self, parcel: Parcel) -> Failure | None:
        """See Sender."""
        where = urlsplit(self._channel.address)
        is_tls = where.scheme == "smtps"
        try:
            message = _mail(self._channel, parcel)
            await aiosmtplib.send(
                message,
                sender=self._channel.sender,
                recipients=[parcel.address],
                hostname=where.hostname or "",
                port=where.port or _SMTP_PORTS[where.scheme],
                username=self._channel.user,
                password=_password(parcel.secret),
                use_tls=is_tls,
                start_tls=False if is_tls else self._channel.tls,
                tls_context=self._context if is_tls or self._channel.tls else None,
                timeout=self._timeout_s,
            )
        except aiosmtplib.SMTPAuthenticationError as error:
            return Failure(reason=f"the relay refuses our credentials ({error.code})", wait_s=CREDENTIALS_WAIT_S)
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [one.code for one in error.recipients]
            return Failure(
                reason=f"the receiver is refused ({codes[0]})", for_good=all(code >= 500 for code in codes)
            )
        except aiosmtplib.SMTPResponseException as error:
            # What the relay says beyond its code may name the receiver.
            return Failure(reason=f"answered {error.code}", for_good=error.code >= 500)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            return Failure(reason=type(error).__name__)
        except (ValueError, UnicodeError):
            return Failure(reason="the address is not one", for_good=True)
        return None


def _mail(channel: MailChannel, parcel: Parcel) -> EmailMessage:
    letter = parcel.letter
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = formataddr((channel.name, channel.sender))
    message["To"] = parcel.address
    title = letter.title or letter.text.partition("\n")[0]
    message["Subject"] = shortened(one_line(title), _SUBJECT_CHARS)
    message["Date"] = format_datetime(letter.at)
    message["Message-ID"] = f"<{parcel.id}@{channel.sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    message["Content-Language"] = letter.language
    message.set_content(letter.text)
    return message


class Sms:
    """A gateway: `{"id", "from", "to", "text"}` as JSON, the secret as a bearer token."""

    def __init__(self, channel: SmsChannel, client: httpx.AsyncClient, timeout_s: float) -> None:
        self._channel = channel
        self._client = client
        self._timeout_s = timeout_s

    async def __call__(self, parcel: Parcel) -> Failure | None:
        """See Sender."""
        body = {
            "id": parcel.id,
            "from": self._channel.sender,
            "to": parcel.address,
            "text": _plain(parcel.letter),
        }
        return await _post_json(self._client, self._channel.address, parcel, body, self._timeout_s)


class Zalo:
    """An official account's message (Zalo OA API v3). Also a refusal is answered with 200; the body says why."""

    def __init__(self, channel: ZaloChannel, client: httpx.AsyncClient, timeout_s: float) -> None:
        self._channel = channel
        self._client = client
        self._timeout_s = timeout_s

    async def __call__(self, parcel: Parcel) -> Failure | None:
        """See Sender."""
        body = {"recipient": {"user_id": parcel.address}, "message": {"text": _plain(parcel.letter)}}
        headers = {
            "Content-Type": "application/json",
            "access_token": _header(parcel.secret),
            IDEMPOTENCY_HEADER: parcel.id,
        }
        failure, said = await post(
            self._client,
            self._channel.address,
            msgspec.json.encode(body),
            headers,
            self._timeout_s,
            read_bytes=ANSWER_BYTES_MAX,
        )
        if failure is not None:
            return failure
        try:
            code = msgspec.json.decode(said, type=_ZaloAnswer).error
        except msgspec.DecodeError:
            return Failure(reason="the answer is none of Zalo's")
        if code == 0:
            return None
        # Anything else, as a token that has expired, somebody can put right meanwhile.
        return Failure(reason=f"Zalo answered {code}", for_good=code in ZALO_FOR_GOOD)


class _ZaloAnswer(Struct, frozen=True):
    error: int


class Speech:
    """Loudspeakers: text, CAP 1.2 and where, as JSON, by HTTP or by MQTT."""

    def __init__(
        self, channel: LoudspeakerChannel, client: httpx.AsyncClient, context: ssl.SSLContext | None, timeout_s: float
    ) -> None:
        self._channel = channel
        self._client = client
        self._context = context
        self._timeout_s = timeout_s

    async def __call__(self, parcel: Parcel) -> Failure | None:
        """See Sender."""
        letter, chars_max = parcel.letter, self._channel.chars_max
        texts = {language: shortened(text, chars_max) for language, (_, text) in letter.texts.items()}
        body = {
            "id": parcel.id,
            "at": letter.at,
            "area": letter.area,
            "exercise": letter.exercise,
            "texts": texts or {letter.language: letter.text},
            "cap": letter.cap,
        }
        if self._channel.topic is None:
            return await _post_json(self._client, self._channel.address, parcel, body, self._timeout_s)
        return await _publish(
            self._channel.address,
            self._channel.topic,
            msgspec.json.encode(body),
            user=self._channel.user,
            secret=parcel.secret,
            context=self._context,
            timeout_s=self._timeout_s,
        )


class Mqtt:
    """A broker, at least once (QoS 1)."""

    def __init__(self, channel: MqttChannel, context: ssl.SSLContext | None, timeout_s: float) -> None:
        self._channel = channel
        self._context = context
        self._timeout_s = timeout_s

    async def __call__(self, parcel: Parcel) -> Failure | None:
        """See Sender."""
        if any(character in parcel.address for character in "+#/\0"):
            return Failure(reason="the address is no part of a topic", for_good=True)
        return await _publish(
            self._channel.address,
            self._channel.topic.replace("{to}", parcel.address),
            msgspec.json.encode(_told(parcel)),
            user=self._channel.user,
            secret=parcel.secret,
            context=self._context,
            timeout_s=self._timeout_s,
        )


class SignedWebhook:
    """A POST of JSON, signed anew at each attempt."""

    def __init__(
        self,
        channel: WebhookChannel,
        client: httpx.AsyncClient,
        timeout_s: float,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._channel = channel
        self._client = client
        self._timeout_s = timeout_s
        self._now_s = now_s

    async def __call__(self, parcel: Parcel) -> Failure | None:
        """See Sender."""
        body = msgspec.json.encode(_told(parcel))
        timestamp_s = int(self._now_s())
        headers = {
            "Content-Type": "application/json",
            IDEMPOTENCY_HEADER: parcel.id,
            TIMESTAMP_HEADER: str(timestamp_s),
            SIGNATURE_HEADER: signature(parcel.secret or b"", timestamp_s, body),
        }
        failure, _ = await post(self._client, self._channel.address, body, headers, self._timeout_s)
        return failure


def sender_of(
    channel: AnyChannel,
    client: httpx.AsyncClient,
    context: ssl.SSLContext | None = None,
    timeout_s: float = SEND_TIMEOUT_S,
) -> Sender | None:
    """What sends by a channel; None for a folder, which is no far end."""
    match channel:
        case MailChannel():
            return Mail(channel, context, timeout_s)
        case SmsChannel():
            return Sms(channel, client, timeout_s)
        case ZaloChannel():
            return Zalo(channel, client, timeout_s)
        case MqttChannel():
            return Mqtt(channel, context, timeout_s)
        case LoudspeakerChannel():
            return Speech(channel, client, context, timeout_s)
        case WebhookChannel():
            return SignedWebhook(channel, client, timeout_s)
        case _:
            return None


def fitted(letter: Letter, channel: AnyChannel) -> Letter:
    """The letter with no more text than the channel takes."""
    return replace(letter, text=shortened(letter.text, channel.chars_max))


def mqtt_client(
    address: str, user: str | None, secret: bytes | None, context: ssl.SSLContext | None, **given: object
) -> aiomqtt.Client:
    """A client of a broker, not connected yet."""
    where = urlsplit(address)
    is_tls = where.scheme == "mqtts"
    return aiomqtt.Client(
        where.hostname or "",
        where.port or _MQTT_PORTS[where.scheme],
        username=user,
        password=_password(secret),
        tls_context=(context or ssl.create_default_context()) if is_tls else None,
        **given,  # pyright: ignore[reportArgumentType] (the caller names what aiomqtt takes)
    )


def refused_credentials(error: aiomqtt.MqttError) -> bool:
    """Whether a broker does not let us in."""
    code = getattr(error, "rc", None)
    return getattr(code, "value", code) in _REFUSED_BY_BROKER


async def _publish(
    address: str,
    topic: str,
    body: bytes,
    *,
    user: str | None,
    secret: bytes | None,
    context: ssl.SSLContext | None,
    timeout_s: float,
) -> Failure | None:
    try:
        async with mqtt_client(address, user, secret, context, timeout=timeout_s) as client:
            await client.publish(topic, body, qos=1, timeout=timeout_s)
    except aiomqtt.MqttError as error:
        if refused_credentials(error):
            return Failure(reason="the broker refuses our credentials", wait_s=CREDENTIALS_WAIT_S)
        return Failure(reason=f"the broker: {error}")
    except (OSError, TimeoutError) as error:
        return Failure(reason=type(error).__name__)
    return None


async def _post_json(
    client: httpx.AsyncClient, address: str, parcel: Parcel, body: object, timeout_s: float
) -> Failure | None:
    headers = {"Content-Type": "application/json", IDEMPOTENCY_HEADER: parcel.id}
    if parcel.secret is not None:
        headers["Authorization"] = f"Bearer {_header(parcel.secret)}"
    failure, _ = await post(client, address, msgspec.json.encode(body), headers, timeout_s)
    if failure is not None and failure.status in _DENIED:
        return Failure(reason=failure.reason, wait_s=CREDENTIALS_WAIT_S)
    return failure


def _told(parcel: Parcel) -> dict[str, object]:
    """A letter as another system reads it."""
    letter = parcel.letter
    return {
        "id": parcel.id,
        "case": letter.case,
        "why": letter.why,
        "at": letter.at,
        "exercise": letter.exercise,
        "area": letter.area,
        "language": letter.language,
        "title": letter.title,
        "text": letter.text,
        "texts": {language: {"title": title, "text": text} for language, (title, text) in letter.texts.items()},
        "cap": letter.cap,
    }


def _plain(letter: Letter) -> str:
    """One text of title and text, for channels without titles."""
    return letter.text if not letter.title else f"{letter.title}\n{letter.text}"


def _password(secret: bytes | None) -> str | None:
    """A secret as text. One that is none is refused over there, like any other wrong one."""
    return None if secret is None else secret.decode(errors="replace")


def _header(secret: bytes | None) -> str:
    """A secret as a header's value. One that holds what a header cannot is sent encoded, and refused over there."""
    text = "" if secret is None else secret.decode("latin-1")
    return text if text.isascii() and text.isprintable() else base64.b64encode(secret or b"").decode()
