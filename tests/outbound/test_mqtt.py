"""Do messages reach a real MQTT broker, and come its receipts back, whoever is away in between?"""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import aiomqtt
import pytest

from deploy.local.errors import OperatorError
from schemas.channel import LoudspeakerChannel, MqttChannel
from schemas.notice import Why
from streams.core.letters import Letter
from streams.core.notice import to_agency
from streams.outbound.aftermath import Aftermath
from streams.outbound.relay import Relay
from streams.outbound.senders import CREDENTIALS_WAIT_S, Mqtt, Parcel
from streams.store.outbox import Outbox
from tests.conftest import unavailable
from tests.outbound.letter_world import FIRE, channels, notice, put_case, put_notice, secret, send_all
from tests.outbound.messages import Connection
from tests.outbound.mosquitto import PASSWORD, USER, Broker, provision, running
from tests.schemas.channel_pack import CHANNELS, channel_site

WAIT_S = 30.0
AT = datetime(2026, 3, 9, 2, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def programs(cache_dir: Path) -> Path:
    """Mosquitto's programs."""
    try:
        return provision(cache_dir)
    except OperatorError as error:
        unavailable(str(error))
        raise


@pytest.fixture
def broker(programs: Path, tmp_path: Path) -> Iterator[Broker]:
    """A broker of the test's own."""
    with running(programs, tmp_path) as made:
        yield made


def client(broker: Broker, **given: object) -> aiomqtt.Client:
    return aiomqtt.Client("127.0.0.1", broker.port, username=USER, password=PASSWORD, **given)  # type: ignore[arg-type]


def parcel(address: str = "unit-a", password: str = PASSWORD) -> Parcel:
    letter = Letter(to="person:chi", why=Why.OFFERED, at=AT, language="en", text="Go")
    return Parcel(id="m1", address=address, letter=letter, secret=password.encode())


def channel(broker: Broker) -> MqttChannel:
    return MqttChannel(id="phones", address=broker.address, topic="ioc/{to}/in", user=USER, secret="env:IOC_SECRET_A")


async def test_a_message_is_published_where_its_receiver_listens(broker: Broker) -> None:
    async with asyncio.timeout(WAIT_S), client(broker) as listener:
        await listener.subscribe("ioc/unit-a/in", qos=1)
        assert await Mqtt(channel(broker), None, 5.0)(parcel()) is None
        message = await anext(aiter(listener.messages))
    assert isinstance(message.payload, bytes)
    said = json.loads(message.payload)
    assert (said["id"], said["text"]) == ("m1", "Go")


async def test_a_broker_that_refuses_or_is_down_may_take_it_later(broker: Broker) -> None:
    refused = await Mqtt(channel(broker), None, 5.0)(parcel(password="wrong"))
    assert refused is not None
    assert (refused.for_good, refused.wait_s) == (False, CREDENTIALS_WAIT_S)
    broker.stop()
    down = await Mqtt(channel(broker), None, 5.0)(parcel())
    assert down is not None
    assert not down.for_good


@pytest.mark.parametrize("address", ["#", "a/b", "+", "a\0"])
async def test_an_address_that_is_no_part_of_a_topic(broker: Broker, address: str) -> None:
    failure = await Mqtt(channel(broker), None, 5.0)(parcel(address))
    assert failure is not None
    assert failure.for_good


async def test_loudspeakers_play_and_say_so(
    connection: Connection, outbox: Outbox, broker: Broker, tmp_path: Path
) -> None:
    text = CHANNELS.replace('"mqtt://horns.example.vn"', f'"{broker.address}"\nuser = "ioc"\nsecret = "file:horns"')
    site = channel_site(text)
    horns = site.channels.of("horns")
    assert isinstance(horns, LoudspeakerChannel)

    def its_secret(reference: str) -> bytes:
        return PASSWORD.encode() if reference == "file:horns" else secret(reference)

    posts = channels(outbox, site, tmp_path, secrets=its_secret)
    relay = Relay(outbox, posts)
    aftermath = Aftermath(outbox, lambda: site, its_secret, "test", look_s=0.05)
    stop = asyncio.Event()
    await put_case(connection, FIRE)
    await put_notice(connection, notice(Why.ASSIGNED, to_agency("power")))

    async with asyncio.timeout(WAIT_S):
        async with client(broker, identifier="horns", clean_session=False) as listener:
            await listener.subscribe("horns/say", qos=1)
        listening = asyncio.create_task(aftermath.run(stop))
        await _subscribed(broker)
        await send_all(relay)
        # The horns were away, and get it when they are there again: the broker keeps it, also over a restart.
        await asyncio.to_thread(broker.stop)
        await asyncio.to_thread(broker.start)
        async with client(broker, identifier="horns", clean_session=False) as listener:
            message = await anext(aiter(listener.messages))
            assert isinstance(message.payload, bytes)
            said = json.loads(message.payload)
            assert said["texts"] == {"vi": "Có fire ở Xã A.", "en": "There is Fire in Commune A."}
            assert "<alert" in said["cap"]
            played = json.dumps({"id": said["id"], "status": "played", "at": "2026-03-09T02:00:30Z"})
            # Twice, with something in between that nobody can read. We were away too, while it restarted.
            for payload in (played, "{", played):
                await listener.publish("horns/played", payload, qos=1)
        while await connection.fetchval("SELECT count(*) FROM receipt") != 1:  # noqa: ASYNC110 (it happens outside)
            await asyncio.sleep(0.02)
    stop.set()
    await listening
    row = await connection.fetchrow("SELECT message, kind, channel FROM receipt")
    assert row is not None
    assert tuple(row) == (said["id"], "played", "horns")


async def _subscribed(broker: Broker) -> None:
    """Waits until the centre listens for receipts: its session is then kept by the broker."""
    async with client(broker) as watcher:
        await watcher.subscribe("$SYS/broker/subscriptions/count")
        async for message in watcher.messages:
            # Ours here, the horns', and the centre's.
            if isinstance(message.payload, bytes) and int(message.payload) >= 3:
                return
