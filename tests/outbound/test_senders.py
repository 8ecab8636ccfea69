"""Does each kind of channel hand over what it should, and say of every failure whether to try again?"""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.channel import AnyChannel, LoudspeakerChannel, MailChannel, SmsChannel, WebhookChannel, ZaloChannel
from schemas.notice import Why
from schemas.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, doubt
from streams.core.letters import Letter
from streams.outbound.channels import Failure
from streams.outbound.senders import CREDENTIALS_WAIT_S, Parcel, SignedWebhook, fitted, sender_of
from tests.outbound.far_ends import PASSWORD, USER, Gateway, certificate, gateway, mail_relay

AT = datetime(2026, 3, 9, 2, 0, tzinfo=UTC)
LETTER = Letter(to="person:an", why=Why.OFFERED, at=AT, language="vi", title="Nhiệm vụ", text="Ổ gà ở Xã A")
TIMEOUT_S = 0.4

Given = dict[str, Any]


def parcel(address: str = "0901", secret: bytes | None = b"secret", **letter: Any) -> Parcel:
    whole = {**{name: getattr(LETTER, name) for name in LETTER.__struct_fields__}, **letter}
    return Parcel(id="m1", address=address, letter=Letter(**whole), secret=secret)


async def sent(
    channel: AnyChannel, given: Parcel, context: ssl.SSLContext | None = None, timeout_s: float = TIMEOUT_S
) -> Failure | None:
    async with httpx.AsyncClient(trust_env=False) as client:
        sender = sender_of(channel, client, context, timeout_s)
        assert sender is not None
        return await sender(given)


@pytest.fixture
def far() -> Iterator[Gateway]:
    with gateway() as server:
        yield server


def over_http(kind: str, address: str) -> AnyChannel:
    match kind:
        case "sms":
            return SmsChannel(id="sms", address=address, sender="IOC", secret="env:IOC_SECRET_A")
        case "zalo":
            return ZaloChannel(id="zalo", address=address, secret="env:IOC_SECRET_A")
        case "loudspeaker":
            return LoudspeakerChannel(id="horns", address=address, secret="env:IOC_SECRET_A")
        case _:
            return WebhookChannel(id="partner", address=address, secret="env:IOC_SECRET_A")


KINDS = ["sms", "zalo", "loudspeaker", "webhook"]


async def test_an_sms(far: Gateway) -> None:
    assert await sent(over_http("sms", far.address), parcel()) is None
    (asked,) = far.asked
    assert asked.body == {"id": "m1", "from": "IOC", "to": "0901", "text": "Nhiệm vụ\nỔ gà ở Xã A"}
    assert (asked.headers["authorization"], asked.headers["idempotency-key"]) == ("Bearer secret", "m1")


async def test_a_zalo_message(far: Gateway) -> None:
    far.does = ['{"error":0,"message":"Success"}']
    assert await sent(over_http("zalo", far.address), parcel("u1")) is None
    (asked,) = far.asked
    assert asked.body == {"recipient": {"user_id": "u1"}, "message": {"text": "Nhiệm vụ\nỔ gà ở Xã A"}}
    assert asked.headers["access_token"] == "secret"


@pytest.mark.parametrize(
    ("answer", "for_good"),
    [
        pytest.param('{"error":-216,"message":"Access token is invalid"}', False, id="a token that has expired"),
        pytest.param('{"error":-213,"message":"User has not followed OA"}', True, id="nobody who follows us"),
        pytest.param('{"error":-32}', False, id="too much"),
        pytest.param("{}", False, id="no answer of theirs"),
    ],
)
async def test_zalo_refuses_with_200(far: Gateway, answer: str, *, for_good: bool) -> None:
    far.does = [answer]
    failure = await sent(over_http("zalo", far.address), parcel("u1"))
    assert failure is not None
    assert failure.for_good is for_good


async def test_loudspeakers_get_text_and_cap(far: Gateway) -> None:
    given = parcel("", texts={"vi": ("Cháy", "Có cháy"), "en": ("Fire", "Fire")}, cap="<alert/>", area="01")
    assert await sent(over_http("loudspeaker", far.address), given) is None
    body = far.asked[0].body
    assert (body["texts"], body["cap"], body["area"]) == ({"vi": "Có cháy", "en": "Fire"}, "<alert/>", "01")
    assert body["exercise"] is False


async def test_a_webhook_is_signed_anew_at_each_attempt(far: Gateway) -> None:
    times = iter([1000.0, 5000.0])
    channel = over_http("webhook", far.address)
    assert isinstance(channel, WebhookChannel)
    async with httpx.AsyncClient(trust_env=False) as client:
        sender = SignedWebhook(channel, client, TIMEOUT_S, lambda: next(times))
        assert [await sender(parcel("")) for _ in range(2)] == [None, None]
    for asked, now_s in zip(far.asked, (1000.0, 5000.0), strict=True):
        stamp, sign = asked.headers[TIMESTAMP_HEADER.lower()], asked.headers[SIGNATURE_HEADER.lower()]
        assert doubt(b"secret", stamp, sign, asked.raw, now_s) is None
    # The same message, by which a receiver knows it.
    assert far.keys == ["m1", "m1"]
    assert far.asked[0].raw == far.asked[1].raw


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("does", "reason", "for_good", "wait_s"),
    [
        pytest.param("500", "answered 500", False, 0, id="their trouble"),
        pytest.param("429", "answered 429", False, 60, id="too much"),
        pytest.param("400", "answered 400", True, 0, id="they do not want it"),
        pytest.param("slow", "no answer within 0.4 s", False, 0, id="slow"),
        pytest.param("cut", "RemoteProtocolError", False, 0, id="taken and cut"),
    ],
)
async def test_far_ends_in_trouble(
    far: Gateway, kind: str, does: str, reason: str, *, for_good: bool, wait_s: float
) -> None:
    far.does = [does, '{"error":0}']
    failure = await sent(over_http(kind, far.address), parcel())
    assert failure is not None
    assert (failure.reason, failure.for_good, failure.wait_s) == (reason, for_good, wait_s)
    # Once more: the same key, so that what was taken and cut is known over there.
    assert await sent(over_http(kind, far.address), parcel()) is None
    assert far.keys == ["m1", "m1"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_far_end_that_is_down(kind: str) -> None:
    failure = await sent(over_http(kind, "http://127.0.0.1:1/"), parcel())
    assert failure is not None
    assert not failure.for_good


@pytest.mark.parametrize("kind", ["sms", "loudspeaker"])
async def test_credentials_that_are_refused_can_be_put_right(far: Gateway, kind: str) -> None:
    far.bearer = "another"
    failure = await sent(over_http(kind, far.address), parcel())
    assert failure is not None
    assert (failure.for_good, failure.wait_s, far.asked) == (False, CREDENTIALS_WAIT_S, [])
    far.bearer = "secret"
    assert await sent(over_http(kind, far.address), parcel()) is None


def test_a_giant_text_is_cut_to_what_the_channel_takes() -> None:
    channel = over_http("sms", "http://127.0.0.1:1/")
    short = fitted(parcel(text="ổ" * 1_000_000).letter, channel)
    assert len(short.text) == channel.chars_max
    assert short.text.endswith("…")


def mail(address: str, **given: Any) -> MailChannel:
    return MailChannel(id="mail", address=address, sender="ioc@example.vn", name="Trung tâm", **given)


async def test_a_mail() -> None:
    with mail_relay() as (relay, address):
        assert await sent(mail(address, tls=False), parcel("an@example.vn", None), timeout_s=10) is None
    (got,) = relay.mails
    assert relay.recipients == ["an@example.vn"]
    assert (got["Message-ID"], got["Auto-Submitted"]) == ("<m1@example.vn>", "auto-generated")
    payload = got.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode().strip() == "Ổ gà ở Xã A"


async def test_a_mail_of_a_million_letters_arrives_whole() -> None:
    with mail_relay() as (relay, address):
        given = parcel("an@example.vn", None, text="ổ gà " * 200_000, title="t" * 5_000)
        assert await sent(mail(address, tls=False), given, timeout_s=20) is None
    payload = relay.mails[0].get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode().count("ổ gà") == 200_000
    assert len(str(relay.mails[0]["Subject"])) < 1_000


async def test_a_title_cannot_bring_headers_of_its_own() -> None:
    with mail_relay() as (relay, address):
        given = parcel("an@example.vn", None, title="a\r\nBcc: all@example.vn")
        assert await sent(mail(address, tls=False), given, timeout_s=10) is None
    assert relay.mails[0]["Bcc"] is None
    assert relay.recipients == ["an@example.vn"]


@pytest.mark.parametrize(
    ("refuses", "reason", "for_good"),
    [
        pytest.param("RCPT 550 no such user", "the receiver is refused (550)", True, id="nobody there"),
        pytest.param("RCPT 450 greylisted", "the receiver is refused (450)", False, id="later"),
        pytest.param("552 too large", "answered 552", True, id="too large"),
        pytest.param("451 try later", "answered 451", False, id="their trouble"),
    ],
)
async def test_a_relay_that_refuses(refuses: str, reason: str, *, for_good: bool) -> None:
    with mail_relay() as (relay, address):
        relay.refuses = [refuses]
        failure = await sent(mail(address, tls=False), parcel("an@example.vn", None), timeout_s=10)
        assert failure is not None
        assert (failure.reason, failure.for_good) == (reason, for_good)
        assert await sent(mail(address, tls=False), parcel("an@example.vn", None), timeout_s=10) is None


async def test_a_relay_that_takes_a_mail_and_cuts_the_connection() -> None:
    with mail_relay() as (relay, address):
        relay.takes_then_cuts = 1
        failure = await sent(mail(address, tls=False), parcel("an@example.vn", None), timeout_s=10)
        assert failure is not None
        assert not failure.for_good
        assert await sent(mail(address, tls=False), parcel("an@example.vn", None), timeout_s=10) is None
    # The same id twice: a mailbox that has it drops the second.
    assert [one["Message-ID"] for one in relay.mails] == ["<m1@example.vn>"] * 2


async def test_by_starttls_with_a_password(tmp_path: Path) -> None:
    server, client = certificate(tmp_path)
    with mail_relay(server) as (relay, address):
        channel = mail(address, user=USER, secret="env:IOC_SECRET_A")
        wrong = await sent(channel, parcel("an@example.vn", b"wrong"), client, 10)
        assert wrong is not None
        assert (wrong.for_good, wrong.wait_s) == (False, CREDENTIALS_WAIT_S)
        assert PASSWORD not in wrong.reason
        assert await sent(channel, parcel("an@example.vn", PASSWORD.encode()), client, 10) is None
    assert len(relay.mails) == 1


async def test_nothing_is_said_to_a_relay_without_or_with_a_false_certificate(tmp_path: Path) -> None:
    server, _ = certificate(tmp_path)
    given = parcel("an@example.vn", PASSWORD.encode())
    with mail_relay(server) as (relay, address):
        failure = await sent(mail(address, user=USER, secret="file:a"), given, ssl.create_default_context(), 10)
        assert failure is not None
        assert not failure.for_good
    assert relay.mails == []
    with mail_relay() as (relay, address):
        failure = await sent(mail(address, user=USER, secret="file:a"), given, None, 10)
        assert failure is not None
    assert relay.mails == []


async def test_a_relay_that_is_down_and_an_address_that_is_none() -> None:
    down = await sent(mail("smtp://127.0.0.1:1", tls=False), parcel("an@example.vn", None))
    assert down is not None
    assert not down.for_good
    with mail_relay() as (_, address):
        none = await sent(mail(address, tls=False), parcel("an\r\nRCPT TO:<b@example.vn>", None), timeout_s=10)
    assert none is not None
    assert none.for_good
