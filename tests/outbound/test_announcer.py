"""Is everyone told whom a notice means, once, by the right channel, at the right time, and nobody else?"""

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from schemas.case import Kind
from schemas.notice import Why
from schemas.personal import Reporter
from streams.core.notice import to_agency, to_unit
from streams.outbound.relay import Relay
from streams.store.outbox import Outbox
from tests.outbound.far_ends import Gateway, gateway, mail_relay
from tests.outbound.letter_world import (
    AT,
    FIRE,
    MAI,
    POTHOLE,
    channels,
    letters,
    notice,
    put_case,
    put_entry,
    put_notice,
    put_reporter,
    send_all,
    site_with,
)
from tests.outbound.messages import Connection, make_due, row
from tests.schemas.case_pack import case
from tests.schemas.channel_pack import CHANNELS, channel_site

ROOT = Path(__file__).parent.parent.parent
WAIT_S = 60.0


@pytest.fixture
def relay(outbox: Outbox, tmp_path: Path) -> Relay:
    """What sends, with channels that nobody answers."""
    site = site_with(sms="http://127.0.0.1:1/", mail="smtp://127.0.0.1:1", partner="http://127.0.0.1:1/")
    return Relay(outbox, channels(outbox, site, tmp_path))


async def test_a_critical_case_goes_at_once_to_whoever_may_see_it(connection: Connection, relay: Relay) -> None:
    await put_case(connection, FIRE)
    await put_notice(connection, notice(Why.ASSIGNED, to_agency("roads"), to_agency("roads")))
    assert await relay.send_one()
    found = await letters(connection)
    # Not Bình, who works in another area; not Chi, who is told as a unit; the loudspeakers, since it is a fire in 01.
    assert [(channel, letter.to) for channel, letter, _ in found] == [
        ("horns", "channel:horns"),
        ("mail", "person:an"),
        ("partner", "channel:partner"),
    ]
    assert not any(one["waits"] for _, _, one in found)
    assert found[1][1].title == "khẩn cấp: Anh Nam 0912"
    # What somebody wrote goes to nobody outside, as long as the case is not published.
    assert found[0][1].cap is not None
    for index in (0, 2):
        assert "0912" not in str(found[index])
    assert found[0][1].text == "Có fire ở Xã A."


async def test_an_offer_goes_by_the_channel_that_the_escalation_names(connection: Connection, relay: Relay) -> None:
    await put_case(connection, FIRE)
    offered = notice(Why.OFFERED, to_unit("a"), detail={"offer": 1})
    again = notice(Why.ESCALATED, to_unit("a"), detail={"offer": 1, "unit": "a", "channel": "sms"})
    await put_notice(connection, offered, again)
    assert [await relay.send_one(), await relay.send_one()] == [True, True]
    ((channel, letter, _),) = await letters(connection)  # the first goes by the live feed
    assert (channel, letter.to, letter.unit, letter.offer, letter.language) == ("sms", "person:chi", "a", 1, "en")
    assert letter.title == "Job: Fire"
    assert "https://ioc.example.vn/board#case=c" in letter.text


async def test_who_cannot_be_reached_is_given_up_for_all_to_see(connection: Connection, relay: Relay) -> None:
    await put_case(connection, FIRE)
    to_boss = notice(Why.ESCALATED, "boss", detail={"unit": "b", "step": "seen"})
    to_b = notice(Why.ESCALATED, to_unit("b"), detail={"unit": "b", "channel": "sms"})
    await put_notice(connection, to_boss, to_b)
    assert [await relay.send_one(), await relay.send_one()] == [True, True]
    found = [(letter.to, one["given_up"], one["last_error"]) for _, letter, one in await letters(connection)]
    assert sorted(found) == [
        ("boss", True, "nobody has an address"),
        ("unit:b", True, "nobody has an address for 'sms'"),
    ]


async def test_nobody_is_told_of_a_complaint_that_they_may_not_see(connection: Connection, relay: Relay) -> None:
    accused = case(category="conduct", kind=Kind.CONDUCT, agency="province", accused_agency="roads", title="x")
    await put_case(connection, accused)
    told = notice(Why.ASSIGNED, to_agency("roads"), to_agency("province"), "an", "dung", "boss")
    await put_notice(connection, told)
    assert await relay.send_one()
    # Dũng is of the supervising agency. An is of the accused one, and Boss of none; nor is there a copy for partners.
    assert [letter.to for _, letter, _ in await letters(connection)] == ["person:dung"]


async def test_the_reporter_is_told_what_was_said(connection: Connection, relay: Relay) -> None:
    await put_case(connection, POTHOLE)
    await put_reporter(connection, Reporter(name="Mai", phone="0912 345 678", language="en"))
    await put_entry(connection, "We come tomorrow.")
    await put_notice(connection, notice(Why.ANSWERED, "subscribers", line=1))
    assert await relay.send_one()
    ((channel, letter, one),) = await letters(connection)
    assert (channel, letter.to, letter.text) == ("sms", f"citizen:{MAI}", "Your report c: We come tomorrow.")
    for trace in ("0912", "Mai"):
        assert trace not in str(one)


async def test_a_unit_reads_what_was_written_to_it_and_a_citizen_does_not(
    connection: Connection, relay: Relay
) -> None:
    await put_case(connection, FIRE)
    await put_entry(connection, "Mind the dog.", public=False, action="note", detail={"to": "units"})
    # Written in the same moment: no unit reads what was not written to it.
    await put_entry(connection, "The dog's owner is known to us.", 2, public=False, action="note")
    await put_reporter(connection, Reporter(name="Mai", phone="0912 345 678", language="en"))
    by_sms = {"detail": {"channel": "sms"}}
    await put_notice(
        connection,
        notice(Why.MESSAGE, to_unit("a"), line=1, **by_sms),
        notice(Why.MESSAGE, to_unit("a"), line=2, **by_sms),
        *(notice(Why.ANSWERED, "subscribers", line=line) for line in (1, 2, None)),
    )
    while await relay.send_one():
        pass
    found = await letters(connection)
    assert sorted(letter.text for _, letter, _ in found if letter.why is Why.MESSAGE) == ["c:", "c: Mind the dog."]
    assert all("dog" not in letter.text for _, letter, _ in found if letter.why is not Why.MESSAGE)


async def test_the_same_notice_again_adds_nothing(connection: Connection, relay: Relay) -> None:
    await put_case(connection, FIRE)
    await put_notice(connection, notice(Why.ASSIGNED, to_agency("roads")))
    assert await relay.send_one()
    before = await letters(connection)
    await connection.execute("UPDATE outbox SET sent_at = NULL, due_at = clock_timestamp() WHERE channel = 'notice'")
    await connection.execute(
        "UPDATE outbox SET due_at = clock_timestamp() + interval '1 h' WHERE channel <> 'notice'"
    )
    assert await relay.send_one()
    assert [one[1] for one in await letters(connection)] == [one[1] for one in before]


async def test_a_notice_waits_for_its_case_and_one_that_is_none_is_given_up(
    connection: Connection, relay: Relay, outbox: Outbox
) -> None:
    await put_notice(connection, notice(Why.ASSIGNED, to_agency("roads")))
    await connection.execute("INSERT INTO outbox VALUES ('x', 'notice', 'c', 'application/json', 'no')")
    assert [await relay.send_one(), await relay.send_one()] == [True, True]
    assert (await row(connection, "notice:n:0"))["last_error"] == "there is no case c"
    assert (await row(connection, "x"))["given_up"]
    await put_case(connection, FIRE)
    await make_due(connection)
    assert await relay.send_one()
    assert (await row(connection, "notice:n:0"))["sent"]


async def test_a_digest_gathers_what_is_not_urgent(connection: Connection, outbox: Outbox, tmp_path: Path) -> None:
    await put_case(connection, POTHOLE)
    with mail_relay() as (far, address):
        text = CHANNELS.replace('user = "ioc"\nsecret = "file:mail"', "tls = false")
        site = channel_site(text.replace("smtp://mail.example.vn:587", address))
        sending = Relay(outbox, channels(outbox, site, tmp_path))
        told = [
            notice(Why.BREACHED, "dung", detail={"clock": "arrival"}, at=AT + timedelta(hours=n)) for n in range(3)
        ]
        await put_notice(connection, *told)
        await send_all(sending)
        ((channel, letter, one),) = await letters(connection)
        assert (channel, letter.to, one["waits"], one["given_up"]) == ("mail", "person:dung", True, False)
        assert await connection.fetchval("SELECT count(*) FROM digest_line WHERE digest = $1", one["id"]) == 3
        await make_due(connection)
        await send_all(sending)
    (mail,) = far.mails
    payload = mail.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode().count("nhẹ: Ổ gà") == 3


async def test_an_erased_person_is_not_written_to(connection: Connection, outbox: Outbox, tmp_path: Path) -> None:
    await put_case(connection, POTHOLE)
    await put_reporter(connection, Reporter(phone="0912345678"))
    await put_entry(connection, "said")
    with gateway() as far:
        sending = Relay(outbox, channels(outbox, site_with(sms=far.address), tmp_path))
        await put_notice(connection, notice(Why.ANSWERED, "subscribers", line=1))
        assert await sending.send_one()
        await connection.execute("UPDATE personal SET sealed = NULL, as_it_came = NULL")
        await make_due(connection)
        await send_all(sending)
        assert far.asked == []
    ((_, _, one),) = await letters(connection)
    assert one["sent_at"] is not None


async def test_what_was_said_is_forgotten_soon(connection: Connection, outbox: Outbox, tmp_path: Path) -> None:
    await put_case(connection, POTHOLE)
    with gateway() as far:
        sending = Relay(outbox, channels(outbox, site_with(partner=far.address), tmp_path))
        await put_notice(connection, notice(Why.ASSIGNED, "nobody"))
        await send_all(sending)
        assert len(far.asked) == 1
    await sending.tend()
    assert len(await letters(connection)) == 1
    await connection.execute("UPDATE outbox SET sent_at = sent_at - interval '25 h'")
    await sending.tend()
    rows = await connection.fetch("SELECT body, target FROM outbox")
    assert {(one["body"], one["target"]) for one in rows} == {(b"", "")}


async def test_a_dead_channel_holds_up_no_other(connection: Connection, outbox: Outbox, tmp_path: Path) -> None:
    await put_case(connection, FIRE)
    with gateway() as far, gateway() as slow:
        slow.does = ["slow"] * 40
        site = site_with(sms=slow.address, partner=far.address)
        stop = asyncio.Event()
        running = asyncio.create_task(Relay(outbox, channels(outbox, site, tmp_path), idle_s=0.01).run(stop))
        again = [
            notice(Why.ESCALATED, to_unit("a"), detail={"offer": 1, "unit": "a", "channel": "sms"}) for _ in range(40)
        ]
        await put_notice(connection, *again)
        await _until(slow, 1)
        await put_notice(connection, notice(Why.ASSIGNED, "nobody"), first=100)
        await _until(far, 1)
        # So many wait for the slow one still, and no more than its bound are under way.
        assert len(slow.asked) < 40
        slow.does = []
        await _until(slow, 40)
        stop.set()
        await running


async def test_killed_again_and_again_it_loses_nothing(
    connection: Connection, url: str, outbox: Outbox, tmp_path: Path
) -> None:
    await put_case(connection, FIRE)
    count = 60
    told = [
        notice(Why.ESCALATED, to_unit("a"), detail={"offer": 1, "unit": "a", "channel": "sms"}) for _ in range(count)
    ]
    with gateway() as far:
        await put_notice(connection, *told)
        command = [sys.executable, "-m", "tests.outbound.letter_world", url, far.address, str(tmp_path)]
        for kill in range(1, 4):
            reached = min(count, kill * count // 4)
            with subprocess.Popen(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}) as process:  # noqa: ASYNC220
                await _until(far, reached)
                process.send_signal(signal.SIGKILL)
            await make_due(connection)  # leases of the dead are over
        sending = Relay(outbox, channels(outbox, site_with(sms=far.address), tmp_path))
        await send_all(sending)
    found = await letters(connection)
    assert len(found) == count
    assert all(one["sent_at"] is not None for _, _, one in found)
    heard = Counter(far.keys)
    assert set(heard) == {one["id"] for _, _, one in found}


async def _until(far: Gateway, count: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while len(set(far.keys)) < count:  # noqa: ASYNC110 (it happens outside)
            await asyncio.sleep(0.005)
