"""Does everything that waits go out once, and again only after a kill?"""

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.outbound.channels import Channel, Failure, Folder, Webhook
from streams.outbound.relay import Relay
from streams.store.outbox import Claimed, Outbox
from tests.outbound.messages import Connection, make_due, message, put, row
from tests.outbound.receiver import Receiver
from tests.outbound.running import running

ROOT = Path(__file__).parent.parent.parent
WAIT_S = 30.0


async def until(true: Callable[[], bool]) -> None:
    """Waits for something to come about."""
    async with asyncio.timeout(WAIT_S):
        while not true():  # noqa: ASYNC110 (what is waited for happens outside)
            await asyncio.sleep(0.01)


async def until_backlog(outbox: Outbox, waiting: int) -> None:
    """Waits until so many messages wait."""
    async with asyncio.timeout(WAIT_S):
        while (await outbox.backlog()).waiting != waiting:  # noqa: ASYNC110 (it happens outside)
            await asyncio.sleep(0.01)


async def test_two_relays_at_once_send_every_message_once(
    connection: Connection, outbox: Outbox, url: str, receiver: Receiver
) -> None:
    await put(connection, *(message(f"r.{n}", target=receiver.url("/200")) for n in range(60)))
    second, webhook = Outbox(url), Webhook()
    relays = [Relay(one, {"webhook": webhook}, idle_s=0.01) for one in (outbox, second)]
    async with running(*relays):
        await until_backlog(outbox, 0)
        await asyncio.sleep(0.1)
    await webhook.close()
    await second.close()
    assert Counter(receiver.keys()) == Counter(f"r.{n}" for n in range(60))


async def test_after_a_kill_between_sending_and_noting_it_comes_again_with_the_same_key(
    connection: Connection, outbox: Outbox, url: str, receiver: Receiver
) -> None:
    await put(connection, message("r.2026-09", target=receiver.url("/200")))
    command = [sys.executable, str(ROOT / "tests/outbound/relay_process.py"), url]
    killed = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, timeout=WAIT_S)
    assert killed.returncode == -signal.SIGKILL
    assert receiver.keys() == ["r.2026-09"]
    left = await row(connection, "r.2026-09")
    assert (left["sent"], left["attempts"]) == (False, 1)

    webhook = Webhook()
    relay = Relay(outbox, {"webhook": webhook}, idle_s=0.01)
    # Its lease still holds, for nobody can know that it is dead.
    assert not await relay.send_one()
    await make_due(connection)
    assert await relay.send_one()
    await webhook.close()
    assert receiver.keys() == ["r.2026-09", "r.2026-09"]
    assert (await row(connection, "r.2026-09"))["sent"]
    assert not await relay.send_one()


@pytest.mark.parametrize("path", ["/500", "/slow", "/cut", "/429"])
async def test_a_receiver_that_recovers_gets_it(
    connection: Connection, outbox: Outbox, receiver: Receiver, path: str
) -> None:
    await put(connection, message(target=receiver.url(path)))
    webhook = Webhook(timeout_s=0.3)
    relay = Relay(outbox, {"webhook": webhook})
    assert await relay.send_one()
    failed = await row(connection, "r.1.json")
    assert (failed["sent"], failed["given_up"], failed["attempts"]) == (False, False, 1)
    assert failed["last_error"]
    receiver.healed = True
    await make_due(connection)
    assert await relay.send_one()
    await webhook.close()
    sent = await row(connection, "r.1.json")
    assert (sent["sent"], sent["last_error"]) == (True, None)
    assert receiver.keys() == ["r.1.json", "r.1.json"]


async def test_a_receiver_that_refuses_is_not_asked_again(
    connection: Connection, outbox: Outbox, receiver: Receiver
) -> None:
    await put(connection, message(target=receiver.url("/400")))
    webhook = Webhook()
    relay = Relay(outbox, {"webhook": webhook})
    assert await relay.send_one()
    await webhook.close()
    assert (await row(connection, "r.1.json"))["given_up"]
    assert not await relay.send_one()
    await relay.tend()
    assert (await outbox.backlog()).failed == 1


async def broken(_: Claimed) -> Failure | None:
    """A channel with a mistake in it."""
    raise ZeroDivisionError


async def test_one_that_breaks_its_channel_or_has_none_does_not_hold_up_others(
    connection: Connection, outbox: Outbox, tmp_path: Path
) -> None:
    await put(connection, message("a", "broken"), message("b", "fax"), message("c", "folder", "out", b"whole"))
    channels: dict[str, Channel] = {"broken": broken, "folder": Folder(tmp_path)}
    async with running(Relay(outbox, channels, idle_s=0.01)):
        await until((tmp_path / "out/c").exists)
        await until_backlog(outbox, 1)
    assert (await row(connection, "a"))["last_error"] == "ZeroDivisionError"
    assert (await row(connection, "b"))["given_up"]
    assert (await row(connection, "c"))["sent"]


async def test_a_slow_receiver_does_not_hold_up_others(
    connection: Connection, outbox: Outbox, receiver: Receiver, tmp_path: Path
) -> None:
    await put(connection, message("slow", target=receiver.url("/slow")), message("file", "folder", "out"))
    webhook = Webhook()
    async with running(Relay(outbox, {"webhook": webhook, "folder": Folder(tmp_path)}, idle_s=0.01)):
        await until((tmp_path / "out/file").exists)
        assert not (await row(connection, "slow"))["sent"]
        await until_backlog(outbox, 0)
    await webhook.close()


async def test_a_relay_outlives_a_database_that_goes_away(
    connection: Connection, outbox: Outbox, tmp_path: Path
) -> None:
    ends = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'ioc-outbound'"""
    async with running(Relay(outbox, {"folder": Folder(tmp_path)}, idle_s=0.01)):
        await put(connection, message("before", "folder"))
        await until((tmp_path / "before").exists)
        assert await connection.fetchval(ends)
        await put(connection, message("after", "folder"))
        await until((tmp_path / "after").exists)
