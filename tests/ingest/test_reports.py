"""Can anybody report, follow the report and be sure that nobody else does?"""

import hashlib
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from deploy.migrate import ensure_topics
from ingest.decode.cloudevents import Decoder
from ingest.decode.commands import CommandDecoder, Taken
from ingest.decode.media import Mode
from ingest.decode.report import Drafted, draft
from schemas.case import case_id
from schemas.codec import SEALED_BYTES_MAX, decode
from schemas.command import Actor
from schemas.errors import InvalidBody, Reason
from schemas.event import FeedbackReceived
from schemas.location import parse_geo
from schemas.personal import KEY_BYTES, KeyRing
from schemas.site import parse_site
from schemas.topics import case_of
from tests.ingest.gateway import config, serving, until_ready, written
from tests.ingest.vector import PACK, RECEIVED_AT, SITE

RING = KeyRing({"1": b"k" * KEY_BYTES}, "1", b"i" * KEY_BYTES)
AGENCIES = """
[[agency]]
id = "roads"
names = { en = "Roads" }
supervisor = "city"
[[agency]]
id = "city"
names = { en = "City" }
"""
CASES = """
other = "other"
[[category]]
id = "other"
names = { en = "Other" }
[[category]]
id = "conduct"
names = { en = "An official's conduct" }
kind = "conduct"
agency = "city"
"""
WITH_AGENCIES = parse_site(PACK | {"agencies.toml": AGENCIES, "cases.toml": CASES})


def report(**given: Any) -> dict[str, Any]:
    """A valid report, with some members set otherwise; None leaves one out."""
    whole = {"text": "Đèn đường không sáng", "area": "01", **given}
    return {name: value for name, value in whole.items() if value is not None}


def drafted(body: object, token: bytes = b"t") -> Drafted:
    """The event that a report makes."""
    return draft(json.dumps(body).encode(), token=token, ring=RING, site=WITH_AGENCIES, received_at=RECEIVED_AT)


def test_a_report_is_an_event_that_does_not_tell_the_secret() -> None:
    made = drafted(report(category="lighting", title="Đèn", photos=["a.jpg"]))
    found = decode(made.event)
    assert isinstance(found, FeedbackReceived)
    assert (found.source, found.data.channel, found.data.category) == ("ioc.web", "web", "lighting")
    assert found.data.attachments == ("a.jpg",)
    assert found.time == RECEIVED_AT
    assert made.case == case_id("ioc.web", found.id) == case_of(found)
    assert made.secret.encode() not in made.event
    assert found.data.tracking == hashlib.sha256(made.secret.encode()).hexdigest()
    assert len(made.secret) == 22


@pytest.mark.parametrize(("unsaid", "category"), [("", "other"), ('unsaid = "lighting"', "lighting")])
def test_a_report_without_a_category_gets_the_sites_own(unsaid: str, category: str) -> None:
    cases = "".join(f'[[category]]\nid = "{id_}"\nnames = {{ en = "{id_}" }}\n' for id_ in ("other", "lighting"))
    site = parse_site(PACK | {"cases.toml": f'other = "other"\n{unsaid}\n{cases}'})
    made = draft(json.dumps(report()).encode(), token=b"t", ring=RING, site=site, received_at=RECEIVED_AT)
    found = decode(made.event)
    assert isinstance(found, FeedbackReceived)
    assert found.data.category == category


def test_the_same_report_is_one_and_others_are_others() -> None:
    assert drafted(report()) == drafted(report())
    made = [drafted(report()), drafted(report(), b"u"), drafted(report(text="x"))]
    assert len({one.case for one in made}) == len({one.secret for one in made}) == 3


def test_a_secret_needs_the_centres_key() -> None:
    other = KeyRing({"1": b"k" * KEY_BYTES}, "1", b"j" * KEY_BYTES)
    body = json.dumps(report()).encode()
    elsewhere = draft(body, token=b"t", ring=other, site=SITE, received_at=RECEIVED_AT)
    assert elsewhere.secret != drafted(report()).secret


def test_the_language_goes_with_the_contact() -> None:
    found = decode(drafted(report(contact={"phone": "0912"}, language="vi")).event)
    assert isinstance(found, FeedbackReceived)
    assert found.data.reporter is not None
    assert (found.data.reporter.language, found.data.reporter.phone) == ("vi", "0912")


@pytest.mark.parametrize(
    ("given_members", "field", "reason"),
    [
        pytest.param({"text": None}, "text", Reason.MISSING_FIELD, id="no words"),
        pytest.param({"text": ""}, "text", Reason.INVALID_FIELD, id="empty words"),
        pytest.param({"source": "portal"}, "$", Reason.INVALID_FIELD, id="somebody else's source"),
        pytest.param({"tracking": "a" * 64}, "$", Reason.INVALID_FIELD, id="a secret of one's own"),
        pytest.param({"accused_agency": "road"}, "accused_agency", Reason.INVALID_FIELD, id="no such agency"),
        pytest.param({"contact": {"phone": 912}}, "contact.phone", Reason.INVALID_FIELD, id="a number as a number"),
        pytest.param({"photos": ["x"] * 21}, "photos", Reason.INVALID_FIELD, id="too many photos"),
    ],
)
def test_what_is_no_report_is_refused(given_members: dict[str, Any], field: str, reason: Reason) -> None:
    with pytest.raises(InvalidBody) as caught:
        drafted(report(**given_members))
    assert (caught.value.field, caught.value.reason) == (field, reason)
    assert caught.value.fix


@pytest.mark.parametrize("cases", [{}, {"cases.toml": CASES.partition('[[category]]\nid = "conduct"')[0]}])
def test_no_complaint_is_taken_where_nothing_keeps_it_apart(cases: dict[str, str]) -> None:
    site = parse_site(PACK | {"agencies.toml": AGENCIES} | cases)
    body = json.dumps(report(accused_agency="roads")).encode()
    with pytest.raises(InvalidBody) as caught:
        draft(body, token=b"t", ring=RING, site=site, received_at=RECEIVED_AT)
    assert (caught.value.field, caught.value.reason) == ("accused_agency", Reason.INVALID_FIELD)
    assert "no category of kind 'conduct'" in caught.value.detail
    assert "Leave `accused_agency` out" in caught.value.fix


_JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=10) | st.lists(st.text(max_size=3), max_size=3)


@given(
    st.fixed_dictionaries(
        {"text": st.text(min_size=1)},
        optional={
            "category": st.text(max_size=5) | _JSON,
            "title": st.text(max_size=5) | _JSON,
            "area": st.sampled_from(["00", "01", "99"]) | _JSON,
            "place": st.sampled_from(["geo:21,105.5", "geo:1,1", "geo:99,200"]) | _JSON,
            "contact": st.dictionaries(st.sampled_from(["name", "phone", "zalo"]), st.text(max_size=9)) | _JSON,
            "photos": st.lists(st.text(max_size=5)) | _JSON,
        },
    )
)
def test_whatever_is_reported_is_taken_or_refused(body: dict[str, Any]) -> None:
    taken, refused = 0, 0
    try:
        made = drafted(body)
        judged = Decoder(WITH_AGENCIES, ring=RING, is_outside=False).decode(
            Mode.STRUCTURED, (), made.event, RECEIVED_AT
        )
    except InvalidBody:
        refused += 1
    else:
        taken, refused = sum(len(lot.values) for lot in judged.lots), len(judged.refused)
    assert taken + refused == 1
    if taken and body.get("place") is not None:
        # What is taken lies on earth, whatever code it came with: a decision about it reads the place.
        parse_geo(body["place"])


def test_the_documents_examples_are_taken() -> None:
    text = (Path(__file__).parents[2] / "docs" / "intake.md").read_text()
    command, answer, citizen = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    # The tests' clock stands still in the morning, and the example is of the afternoon.
    in_the_evening = RECEIVED_AT + timedelta(hours=10)
    ordered = CommandDecoder(SITE).decode(command.encode(), Actor(id="hoa", roles=("unit",)), in_the_evening)
    assert [type(one) for one in ordered.results] == [Taken]
    assert [one["status"] for one in json.loads(answer)["results"]] == ["accepted", "rejected"]
    assert drafted(json.loads(citizen)).case


# Over HTTP, with Kafka behind it.


@pytest.fixture
async def client(kafka: str, topic_prefix: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway with keys, that takes ten reports of an address."""
    await ensure_topics(kafka, topic_prefix)
    settings = config(kafka, topic_prefix, ring=RING, citizen_per_minute=0.001, citizen_burst=10)
    async with serving(replace(settings, current_site=lambda: WITH_AGENCIES)) as client:
        await until_ready(client)
        yield client


async def test_anybody_reports(client: httpx.AsyncClient, kafka: str, topic_prefix: str) -> None:
    answer = await client.post("/v1/reports", json=report(contact={"name": "Mai", "phone": "0912 345 678"}))
    assert answer.status_code == 202
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert told["follow"] == "/v1/track"
    (record,) = await written(kafka, topic_prefix)
    raw = record.value or b""
    assert record.key == told["reference"].encode()
    assert told["secret"].encode() not in raw
    assert b"0912" not in raw
    assert "không sáng" not in raw.decode()
    found = decode(raw, SEALED_BYTES_MAX)
    assert isinstance(found, FeedbackReceived)
    assert RING.open_personal(found.data.personal or "", "ioc.web", found.id).text == "Đèn đường không sáng"


async def test_a_report_that_is_sent_again_is_the_same(
    client: httpx.AsyncClient, kafka: str, topic_prefix: str
) -> None:
    headers = {"idempotency-key": "8f14e45f-ceea-4671"}
    told = [(await client.post("/v1/reports", json=report(), headers=headers)).json() for _ in range(2)]
    assert told[0] == told[1]
    assert (
        len({(record.key, json.loads(record.value or b"")["id"]) for record in await written(kafka, topic_prefix)})
        == 1
    )
    others = [(await client.post("/v1/reports", json=report())).json() for _ in range(2)]
    assert len({one["secret"] for one in [told[0], *others]}) == 3


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        pytest.param(b"{", 400, "$", id="no JSON"),
        pytest.param(json.dumps(report(area="99")).encode(), 400, "area", id="no such area"),
        pytest.param(json.dumps(report(area=None)).encode(), 400, "area", id="nowhere"),
        pytest.param(json.dumps(report(text="a\0")).encode(), 400, "$", id="NUL"),
        pytest.param(json.dumps(report(time="2030-01-01T00:00:00Z")).encode(), 400, "time", id="to come"),
        pytest.param(b" " * 70_000, 413, "$", id="too large"),
    ],
)
async def test_a_bad_report_is_told_why(client: httpx.AsyncClient, body: bytes, status: int, field: str) -> None:
    answer = await client.post("/v1/reports", content=body)
    assert (answer.status_code, answer.json()["field"]) == (status, field), answer.text
    assert answer.json()["fix"]


async def test_a_key_that_is_none(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/reports", json=report(), headers={"idempotency-key": "x" * 129})
    assert (answer.status_code, answer.json()["field"]) == (400, "idempotency-key")


async def test_an_address_is_held_back(client: httpx.AsyncClient, kafka: str, topic_prefix: str) -> None:
    answers = [await client.post("/v1/reports", json=report()) for _ in range(12)]
    assert [one.status_code for one in answers] == [202] * 10 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) > 0
    # Those who send events are no citizens.
    assert len(await written(kafka, topic_prefix)) == 10


async def test_without_keys_no_report_is_taken(kafka: str, topic_prefix: str) -> None:
    await ensure_topics(kafka, topic_prefix)
    async with serving(config(kafka, topic_prefix)) as client:
        await until_ready(client)
        for contact in ({"phone": "0912"}, None):
            refused = await client.post("/v1/reports", json=report(contact=contact))
            assert (refused.status_code, refused.json()["reason"]) == (400, "no_keys")
    assert await written(kafka, topic_prefix) == []


async def test_all_that_can_be_posted_is_described(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert {"202", "401", "403", "422", "429"} <= set(document["paths"]["/v1/commands"]["post"]["responses"])
    assert {"202", "400", "429"} <= set(document["paths"]["/v1/reports"]["post"]["responses"])
    # What only the centre makes is not offered to senders.
    sent = json.dumps(document["paths"]["/v1/events"])
    assert "CaseCommand" not in sent
    assert "FeedbackReceived" in sent
