"""Does the AsyncAPI document say what is really sent?"""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect

from dashboard_api import messages
from dashboard_api.live_messages import LiveMessage, PollAnswer
from dashboard_api.messages import DatabaseState
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.replay_socket import ReplayHeartbeat
from dashboard_api.session import SnapshotReason
from deploy import asyncapi
from deploy.migrate import migrate_schema
from ingest.gateway.answer import RejectedResult
from ingest.gateway.command_socket import Told
from schemas.errors import Reason
from tests.dashboard.case_centre import case_centre
from tests.dashboard.case_rows import case, put_cases, tell
from tests.dashboard.centre import WAIT_S, Report, Sample, utc_now, writer

DOCUMENT = Path(__file__).parents[2] / "docs" / "asyncapi.yaml"
ORDINARY = {"snapshot", "change", "heartbeat", "error"}


def check(text: str | bytes, kind: Any = LiveMessage) -> None:
    """Raises where a text is not as the types have it that the document is made of, or says more than these."""
    read = msgspec.json.decode(text, type=kind)
    assert msgspec.json.decode(msgspec.json.encode(read)) == msgspec.json.decode(text)


def test_the_document_is_what_the_command_prints() -> None:
    assert DOCUMENT.read_text() == asyncapi.text(), "run: ioc asyncapi > docs/asyncapi.yaml"


def test_whatever_it_refers_to_is_there() -> None:
    document = asyncapi.document()

    refs = set(re.findall(r'"\$ref": "(.*?)"', json.dumps(document)))
    assert len(refs) > 50
    for ref in refs:
        found: Any = document
        for step in ref.removeprefix("#/").split("/"):
            found = found[step]


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        pytest.param({"a": {"b": 1}}, ["a:", "  b: 1"], id="nested"),
        pytest.param({"a": [{"b": 1, "c": "x"}, {}]}, ["a:", "- b: 1", '  c: "x"', "- {}"], id="list of mappings"),
        pytest.param({"no": [1, None], "a b": "é: #"}, ['"no": [1, null]', '"a b": "é: #"'], id="quoted"),
    ],
)
def test_a_mapping_in_yaml(value: dict[str, Any], lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncapi, "document", lambda: value)
    assert asyncapi.text().splitlines()[1:] == lines


async def test_every_message_of_a_session_is_as_the_document_has_it(database_url: str) -> None:
    await migrate_schema(database_url)
    heard: list[dict[str, Any]] = []
    now_s = int(utc_now().timestamp())
    async with (
        case_centre(database_url) as centre,
        writer(database_url) as stream,
        centre.running.live(additional_headers=centre.issuer.header("olga")) as client,
    ):

        async def hear(op: str) -> dict[str, Any]:
            async with asyncio.timeout(WAIT_S):
                while True:
                    text = await client.recv()
                    message = msgspec.json.decode(text)
                    heard.append(message)
                    check(text)
                    if message["op"] == op:
                        return message

        wish: dict[str, Any] = {
            "kpis": None,
            "areas": ["00", "01"],
            "tier": "day",
            "points": 2,
            "cases": {},
            "units": True,
        }
        subscribe = {"op": "subscribe", **wish, "commands": True}
        await put_cases(centre.connection, case("c1"))
        await client.send(msgspec.json.encode(subscribe).decode())
        assert (await hear("snapshot"))["cases"]
        samples = [
            Sample(kpi=kpi, area="01", time_s=now_s, value=3.0, what="x")
            for kpi in ("feedback_received", "feedback_closed", "response_ms", "cameras_active")
        ]
        await stream.commit(samples, [Report(id="r1", area="01")])
        change = await hear("change")
        assert change["values"]
        await put_cases(centre.connection, case("c2", title="Another"))
        await tell(centre.connection, ["c2"], ["u1"])
        change = await hear("change")
        assert change["cases"]
        assert change["units"]
        await stream.close_until(now_s + 2 * 86_400)
        await stream.commit(samples[:1], late=True)
        assert (await hear("change"))["values"][0]["first"]
        await hear("heartbeat")
        await client.send('{"op":"subscribe","points":0}')
        await hear("error")
        query = {"subscription": '{"tier":"day","points":1}', "wait": "1"}
        async with httpx.AsyncClient(trust_env=False, timeout=WAIT_S) as http:
            answer = await http.get(f"{centre.running.http}/v1/live/poll", params=query)
        check(answer.content, PollAnswer)
        async with connect(
            f"ws://{centre.running.address}/v1/replay", additional_headers=centre.issuer.header("olga")
        ) as past:
            since = utc_now().isoformat()
            await past.send(msgspec.json.encode({**subscribe, "replay": {"from": since, "speed": 1}}).decode())
            text = await past.recv()
            assert msgspec.json.decode(text)["series"][0]["points"][0]["known"]
            check(text)
            await past.send('{"op":"subscribe"}')
            async with asyncio.timeout(WAIT_S):
                while (op := msgspec.json.decode(text := await past.recv())["op"]) != "error":
                    check(text, ReplayHeartbeat if op == "heartbeat" else LiveMessage)
    assert {message["op"] for message in heard} >= ORDINARY


@pytest.mark.parametrize(
    "text",
    [
        messages.status_text(DatabaseState(state="away", since=utc_now(), detail="refused")),
        messages.lagging_text(1.5, 3),
        messages.close_text(4401, "sign in"),
        *(
            messages.error_text(Refused("$", reason, "it is wrong", "Mend it."))
            for reason in (RefusalReason.MALFORMED, RefusalReason.TOO_MANY)
        ),
    ],
    ids=["the database is away", "lagging", "closing", "malformed", "too many"],
)
def test_what_is_said_rarely_is_as_the_document_has_it(text: str) -> None:
    check(text)


def test_what_commands_are_answered_with_is_as_the_document_has_it() -> None:
    refused = RejectedResult(1, "c-2", "case", Reason.INVALID_FIELD, "it is no case", "Send one.")
    for told in (Told(1, 202), Told(2, 202, [refused])):
        check(msgspec.json.encode(told), Told)


def test_every_reason_of_a_snapshot_is_in_the_document() -> None:
    assert set(asyncapi.document()["components"]["schemas"]["SnapshotReason"]["enum"]) == set(SnapshotReason)
