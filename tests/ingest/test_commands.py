"""Is a command taken as who sends it, and as nobody else, and is each of many answered for itself?"""

import hashlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from deploy.migrate import ensure_topics
from ingest.decode.commands import COMMANDS_MAX, CommandDecoder, Ordered, Taken
from schemas.case import case_id
from schemas.codec import SEALED_BYTES_MAX, decode
from schemas.command import CITIZENS, Actor
from schemas.errors import InvalidBody, InvalidEvent, Reason
from schemas.event import CaseCommand
from schemas.identity import Role
from schemas.personal import KEY_BYTES, KeyRing, Personal
from schemas.site import parse_site
from schemas.topics import CASES, key_of
from streams.core.life_cycle import PERMITS
from tests.ingest.gateway import config, serving, until_ready, written
from tests.ingest.vector import PACK, RECEIVED_AT, SITE, event
from tests.schemas.signer import KnownKeys, Signer

CASE = "mfrggzdfmztwq2lk"
ACTOR = Actor(id="hoa", roles=("operator",), agency="a", areas=("00",))
CITIZEN = Actor(id="citizen", roles=("citizen",), tracking="c" * 64)
RING = KeyRing({"1": b"k" * KEY_BYTES}, "1", b"i" * KEY_BYTES)
DECODER = CommandDecoder(SITE, RING)
DO: dict[str, Any] = {"action": "accept", "version": 3}


def order(**given: Any) -> dict[str, Any]:
    """A valid command, with some members set otherwise; None leaves one out."""
    whole = {"id": "c-1", "case": CASE, "time": "2025-07-01T08:00:00+07:00", "do": DO, **given}
    return {name: value for name, value in whole.items() if value is not None}


def judged(body: object, actor: Actor = ACTOR) -> Ordered:
    """What becomes of a request."""
    return DECODER.decode(json.dumps(body).encode(), actor, RECEIVED_AT)


def events(ordered: Ordered) -> list[CaseCommand]:
    """What goes on the log."""
    found = [decode(value, SEALED_BYTES_MAX) for lot in ordered.lots for value in lot.values]
    assert all(isinstance(one, CaseCommand) for one in found)
    return [one for one in found if isinstance(one, CaseCommand)]


def test_a_command_says_who_gives_it_and_what_it_is_about() -> None:
    ordered = judged(order())
    assert ordered.results == [Taken("c-1", "person:hoa", CASE, "accept")]
    (lot,) = ordered.lots
    (event,) = events(ordered)
    assert (lot.topic, lot.key) == (CASES, CASE.encode())
    assert (event.source, event.id, event.subject) == ("person:hoa", "c-1", CASE)
    assert event.time == datetime(2025, 7, 1, 1, tzinfo=UTC)
    assert event.received_at == RECEIVED_AT
    assert event.data.actor == ACTOR
    assert event.data.do.version == 3
    assert key_of(event) == lot.key


@pytest.mark.parametrize("member", ["actor", "source", "received_at", "receivedat", "data", "supersedes", "type"])
def test_nobody_says_who_they_are(member: str) -> None:
    ordered = judged(order(**{member: {"id": "boss", "roles": ["administrator"]}}))
    (refusal,) = ordered.results
    assert isinstance(refusal, InvalidEvent)
    assert member in refusal.detail
    assert not ordered.lots


def test_what_is_within_the_action_is_not_who_gives_it() -> None:
    (event,) = events(judged(order(do=DO | {"actor": {"id": "boss"}, "roles": ["administrator"]})))
    assert event.data.actor == ACTOR


def test_who_opens_a_case_is_told_which() -> None:
    do = {"action": "open", "category": "road", "title": "Ổ gà"}
    own = case_id("person:hoa", "c-1")
    ordered = judged([order(case=None, do=do, area="01"), order(case=own, do=do, place="geo:21.0,105.5")])
    assert [one.subject for one in ordered.results if isinstance(one, Taken)] == [own, own]
    first, second = events(ordered)
    assert (first.area, first.area_list) == ("01", "vn-test")
    assert (second.area, second.place) == (None, "geo:21.0,105.5")


def test_a_citizen_is_known_by_the_secret() -> None:
    (event,) = events(judged(order(do={"action": "confirm"}), CITIZEN))
    assert event.source == "citizen:" + "c" * 16
    assert event.data.actor == CITIZEN


def test_without_a_time_it_was_given_when_it_came() -> None:
    (event,) = events(judged(order(time=None)))
    assert event.time == RECEIVED_AT


def test_a_drill_is_one() -> None:
    (event,) = events(judged(order(exercise=True)))
    assert event.exercise


def test_commands_about_one_thing_keep_their_order() -> None:
    ordered = judged([order(id=f"c-{n}", case=CASE if n % 2 else "aaaaaaaaaaaaaaaa") for n in range(20)])
    lots = {lot.key: [decode(value, SEALED_BYTES_MAX).id for value in lot.values] for lot in ordered.lots}
    assert lots == {
        CASE.encode(): [f"c-{n}" for n in range(20) if n % 2],
        b"a" * 16: [f"c-{n}" for n in range(20) if not n % 2],
    }


@pytest.mark.parametrize(
    ("given", "field", "reason"),
    [
        pytest.param({"case": None}, "case", Reason.MISSING_FIELD, id="about nothing"),
        pytest.param({"case": "no case"}, "case", Reason.INVALID_FIELD, id="no case"),
        pytest.param({"case": "unit:u1"}, "case", Reason.INVALID_FIELD, id="about a unit"),
        pytest.param({"subject": "a" * 16}, "subject", Reason.INVALID_FIELD, id="about two cases"),
        pytest.param(
            {"do": {"action": "availability", "status": "off"}},
            "case",
            Reason.INVALID_FIELD,
            id="a unit's, of a case",
        ),
        pytest.param(
            {"do": {"action": "erase", "reason": "x"}, "case": "unit:u1"},
            "case",
            Reason.INVALID_FIELD,
            id="no person",
        ),
        pytest.param({"do": {"action": "fly"}}, "do.action", Reason.INVALID_FIELD, id="no such action"),
        pytest.param({"do": {}}, "do.action", Reason.MISSING_FIELD, id="no action"),
        pytest.param({"do": None}, "do", Reason.MISSING_FIELD, id="nothing asked for"),
        pytest.param({"do": {"action": "assign"}}, "do.agency", Reason.MISSING_FIELD, id="half an action"),
        pytest.param(
            {"do": {"action": "deadline", "name": "clock:resolution:due", "due_at": "2025-07-01T00:00:00Z"}},
            "do.action",
            Reason.NOT_ALLOWED,
            id="the centre's own",
        ),
        pytest.param({"time": "2026-07-01T08:00:00+07:00"}, "time", Reason.FUTURE_TIME, id="next year"),
        pytest.param({"time": "2025-07-01T08:00:00"}, "time", Reason.NAIVE_TIME, id="a time without a zone"),
        pytest.param({"time": "1969-07-01T08:00:00Z"}, "time", Reason.INVALID_FIELD, id="before the years"),
        pytest.param({"area": "99"}, "area", Reason.UNKNOWN_AREA, id="no such area"),
        pytest.param({"place": "geo:91,105"}, "place", Reason.UNKNOWN_PLACE, id="no place on earth"),
        pytest.param({"area": "01", "place": "geo:99,200"}, "place", Reason.UNKNOWN_PLACE, id="none beside a code"),
        pytest.param(
            {"case": "alert:a", "do": {"action": "silence", "until": "9999-12-31T23:59:59-14:00", "reason": "x"}},
            "do.until",
            Reason.INVALID_FIELD,
            id="silence after the last year",
        ),
        pytest.param(
            {
                "case": "unit:u",
                "do": {"action": "availability", "status": "off", "until": "0001-01-01T00:00:00+14:00"},
            },
            "do.until",
            Reason.INVALID_FIELD,
            id="off until before the first year",
        ),
        pytest.param(
            {"do": {"action": "note", "evidence": [{"ref": "a"}, {"ref": "b", "at": "2200-01-01T00:00:00Z"}]}},
            "do.evidence[1].at",
            Reason.INVALID_FIELD,
            id="evidence of a time to come",
        ),
        pytest.param({"id": ""}, "id", Reason.INVALID_FIELD, id="no id"),
        pytest.param({"id": "a\0b"}, "$", Reason.NUL_CHARACTER, id="NUL"),
        pytest.param({"id": "a\x1fb"}, "$", Reason.INVALID_FIELD, id="the separator"),
        pytest.param(
            {"case": None, "do": {"action": "open", "category": "road", "title": "x"}},
            "area",
            Reason.MISSING_FIELD,
            id="opened nowhere",
        ),
        pytest.param(
            {"case": None, "do": {"action": "open", "category": "road", "title": "x"}, "place": "geo:1,1"},
            "place",
            Reason.UNKNOWN_PLACE,
            id="opened elsewhere",
        ),
        pytest.param(
            {"do": {"action": "open", "category": "road", "title": "x"}, "area": "01"},
            "case",
            Reason.INVALID_FIELD,
            id="opened by another name",
        ),
    ],
)
def test_what_cannot_be_decided_is_refused_and_the_others_go_on(
    given: dict[str, Any], field: str, reason: Reason
) -> None:
    ordered = judged([order(id="before"), order(**given), order(id="after")])
    refusal = ordered.results[1]
    assert isinstance(refusal, InvalidEvent)
    assert (refusal.field, refusal.reason) == (field, reason)
    assert refusal.fix
    assert [one.id for one in events(ordered)] == ["before", "after"]


def test_a_citizen_sends_one_at_a_time() -> None:
    """What is limited is a citizen's requests."""
    assert len(events(judged([order(do={"action": "confirm"})], CITIZEN))) == 1
    with pytest.raises(InvalidBody) as caught:
        judged([order(id="c-1"), order(id="c-2")], CITIZEN)
    assert caught.value.reason is Reason.TOO_LARGE


WORDS = "Tôi là Mai, nhà số 12 Lê Lợi"


@pytest.mark.parametrize(
    ("do", "left"),
    [
        pytest.param({"action": "reply", "text": WORDS}, {"action": "reply"}, id="reply"),
        pytest.param({"action": "dispute", "reason": WORDS}, {"action": "dispute"}, id="dispute"),
        pytest.param({"action": "rate", "score": 2, "comment": WORDS}, {"action": "rate", "score": 2}, id="rate"),
    ],
)
def test_what_a_citizen_writes_is_sealed(do: dict[str, Any], left: dict[str, Any]) -> None:
    ordered = judged(order(do=do), CITIZEN)
    (lot,) = ordered.lots
    assert b"Mai" not in lot.values[0]
    assert json.dumps(WORDS)[1:-1].encode() not in lot.values[0]
    assert json.loads(lot.values[0])["data"]["do"] == left
    (event,) = events(ordered)
    assert event.data.words == len(WORDS)
    assert RING.open_personal(event.data.personal or "", event.source, event.id) == Personal(text=WORDS)
    # A resend is a resend.
    assert judged(order(do=do), CITIZEN).lots == ordered.lots


@pytest.mark.parametrize(
    ("do", "field", "reason"),
    [
        pytest.param({"action": "reply"}, "do.text", Reason.MISSING_FIELD, id="a reply without words"),
        pytest.param({"action": "dispute"}, "do.reason", Reason.MISSING_FIELD, id="a dispute without a reason"),
        pytest.param({"action": "reply", "text": "a\0"}, "$", Reason.NUL_CHARACTER, id="NUL"),
        pytest.param({"action": "reply", "text": "x" * 4001}, "do.text", Reason.INVALID_FIELD, id="too many words"),
        pytest.param(
            {"action": "reply", "text": "x", "evidence": [{"ref": "a.jpg", "note": "my house"}]},
            "do.evidence",
            Reason.INVALID_FIELD,
            id="words on a photo",
        ),
        pytest.param({"action": "note", "text": "x"}, "do.action", Reason.NOT_ALLOWED, id="a note for staff"),
    ],
)
def test_what_a_citizen_cannot_write_is_refused(do: dict[str, Any], field: str, reason: Reason) -> None:
    (refusal,) = judged(order(do=do), CITIZEN).results
    assert isinstance(refusal, InvalidEvent)
    assert (refusal.field, refusal.reason) == (field, reason)
    assert refusal.fix


def test_a_citizen_may_ask_at_the_door_for_what_the_life_cycle_permits() -> None:
    permitted = {name for name, permit in PERMITS.items() if Role.CITIZEN in permit.roles}
    assert {str(one.__struct_config__.tag) for one in CITIZENS} == permitted


def test_without_keys_no_words_are_taken() -> None:
    decoder = CommandDecoder(SITE)
    for do, taken in (({"action": "reply", "text": WORDS}, False), ({"action": "confirm"}, True)):
        (result,) = decoder.decode(json.dumps(order(do=do)).encode(), CITIZEN, RECEIVED_AT).results
        assert isinstance(result, Taken) is taken
        assert taken or (isinstance(result, InvalidEvent) and result.reason is Reason.NO_KEYS)


def test_a_citizen_reports_and_opens_nothing() -> None:
    do = {"action": "open", "category": "road", "title": "x"}
    (refusal,) = judged(order(case=None, do=do, area="01"), CITIZEN).results
    assert isinstance(refusal, InvalidEvent)
    assert refusal.reason is Reason.NOT_ALLOWED
    assert "/v1/reports" in refusal.fix


@pytest.mark.parametrize(
    ("subject", "do"),
    [
        pytest.param("unit:u-1", {"action": "availability", "status": "available"}, id="a unit"),
        pytest.param(
            "alert:load", {"action": "silence", "until": "2025-07-02T00:00:00Z", "reason": "x"}, id="a rule"
        ),
        pytest.param(f"person:{'a' * 64}", {"action": "erase", "reason": "asked to"}, id="a person"),
    ],
)
def test_not_all_is_about_cases(subject: str, do: dict[str, Any]) -> None:
    ordered = judged(order(case=None, subject=subject, do=do))
    assert [one.subject for one in events(ordered)] == [subject]
    assert ordered.lots[0].key == subject.encode()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"  ", id="blank"),
        pytest.param(b"[", id="truncated"),
        pytest.param(b"[{},]", id="a comma too many"),
        pytest.param(b'{"id":1} x', id="something behind it"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b"\xff", id="no UTF-8"),
    ],
)
def test_a_body_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidBody):
        DECODER.decode(body, ACTOR, RECEIVED_AT)


def test_there_may_be_so_many_and_no_more() -> None:
    assert len(events(judged([order(id=str(n)) for n in range(COMMANDS_MAX)]))) == COMMANDS_MAX
    with pytest.raises(InvalidBody) as caught:
        judged([order(id=str(n)) for n in range(COMMANDS_MAX + 1)])
    assert caught.value.reason is Reason.TOO_LARGE


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_ORDERS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(max_size=5) | _JSON,
        "case": st.just(CASE) | st.text(max_size=20) | _JSON,
        "subject": st.sampled_from(["unit:u", "alert:x", "person:p"]) | _JSON,
        "time": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat) | _JSON,
        "area": st.sampled_from(["00", "01", "03", "99"]) | _JSON,
        "place": st.just("geo:21,105.5") | _JSON,
        "exercise": st.booleans() | _JSON,
        "do": st.fixed_dictionaries(
            {"action": st.sampled_from(["accept", "open", "note", "availability", "deadline", "x"])},
            optional={"text": st.text() | _JSON, "category": _JSON, "title": st.text(), "status": st.just("off")},
        )
        | _JSON,
    },
)


@given(st.lists(_ORDERS | _JSON, max_size=5))
def test_whatever_is_sent_is_taken_as_the_senders_or_refused(orders: list[Any]) -> None:
    ordered = judged(orders)
    assert len(ordered.results) == len(ordered.ids) == len(orders)
    taken = [one for one in ordered.results if isinstance(one, Taken)]
    found = events(ordered)
    assert sorted(one.id for one in found) == sorted(one.id for one in taken)
    latest = RECEIVED_AT + timedelta(seconds=SITE.header.future_max_s)
    assert all(one.source == "person:hoa" and one.data.actor == ACTOR and one.time <= latest for one in found)


@given(st.binary(max_size=80))
def test_whatever_bytes_come_are_judged(body: bytes) -> None:
    refusals: list[InvalidEvent] = []
    try:
        ordered = DECODER.decode(body, ACTOR, RECEIVED_AT)
    except InvalidBody as error:
        refusals.append(error)
    else:
        assert not ordered.lots
        refusals += [one for one in ordered.results if isinstance(one, InvalidEvent)]
    assert all(one.fix for one in refusals)
    assert refusals or body.split() == [b"[]"] or body.split() == [b"[", b"]"]


# Over HTTP, with Kafka behind it.

PEOPLE = """
[[person]]
id = "hoa"
name = "Hoa"
roles = ["operator"]
areas = ["01"]
"""
GUARDED = parse_site(PACK | {"people.toml": PEOPLE})
SIGNER = Signer("ES256")


def token(subject: str, signer: Signer = SIGNER) -> dict[str, str]:
    """A header with a token, a genuine one if nobody else signs it."""
    expires_s = int((RECEIVED_AT + timedelta(minutes=5)).timestamp())
    return {"authorization": f"Bearer {signer.token(sub=subject, iat=None, exp=expires_s)}"}


@pytest.fixture
async def client(kafka: str, topic_prefix: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway with people, that lets a citizen send three times."""
    await ensure_topics(kafka, topic_prefix)
    settings = config(kafka, topic_prefix, trust=KnownKeys(SIGNER), citizen_per_minute=0.001, citizen_burst=3)
    async with serving(replace(settings, current_site=lambda: GUARDED)) as client:
        await until_ready(client)
        yield client


async def on_the_log(kafka: str, topic_prefix: str) -> list[CaseCommand]:
    found = [decode(record.value or b"", SEALED_BYTES_MAX) for record in await written(kafka, topic_prefix)]
    return [one for one in found if isinstance(one, CaseCommand)]


async def test_a_signed_in_person_gives_commands(client: httpx.AsyncClient, kafka: str, topic_prefix: str) -> None:
    answer = await client.post("/v1/commands", json=[order(), order(id="c-2", do={})], headers=token("hoa"))
    assert answer.status_code == 202
    content = answer.json()
    assert (content["accepted"], content["rejected"]) == (1, 1)
    accepted, rejected = content["results"]
    assert accepted == {"index": 0, "id": "c-1", "source": "person:hoa", "subject": CASE, "status": "accepted"}
    assert (rejected["id"], rejected["field"], rejected["status"]) == ("c-2", "do.action", "rejected")
    (event,) = await on_the_log(kafka, topic_prefix)
    assert (event.data.actor.id, event.data.actor.roles, event.data.actor.areas) == ("hoa", ("operator",), ("01",))


async def test_nobody_else_does(client: httpx.AsyncClient, kafka: str, topic_prefix: str) -> None:
    cases = {
        401: [
            {},
            {"authorization": "Bearer x"},
            token("hoa", Signer("ES256")),
            {"authorization": "Basic aG9h"},
        ],
        403: [token("nobody-here")],
    }
    for status, all_headers in cases.items():
        for headers in all_headers:
            answer = await client.post("/v1/commands", json=order(), headers=headers)
            assert answer.status_code == status, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["reason"]
            assert ("www-authenticate" in answer.headers) is (status == 401)
    assert await on_the_log(kafka, topic_prefix) == []


async def test_a_citizen_acts_by_secret_and_not_too_often(
    client: httpx.AsyncClient, kafka: str, topic_prefix: str
) -> None:
    headers = {"tracking-secret": "s3cret"}
    for number in range(3):
        answer = await client.post(
            "/v1/commands", json=order(id=f"c-{number}", do={"action": "confirm"}), headers=headers
        )
        assert answer.status_code == 202
    refused = await client.post("/v1/commands", json=order(id="c-3", do={"action": "confirm"}), headers=headers)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    digest = hashlib.sha256(b"s3cret").hexdigest()
    found = await on_the_log(kafka, topic_prefix)
    assert {(one.source, one.data.actor.tracking) for one in found} == {(f"citizen:{digest[:16]}", digest)}
    assert len(found) == 3
    # Staff are not held up by it.
    assert (await client.post("/v1/commands", json=order(), headers=token("hoa"))).status_code == 202


async def test_a_secret_that_is_none(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/commands", json=order(), headers={"tracking-secret": "x" * 129})
    assert (answer.status_code, answer.json()["field"]) == (400, "tracking-secret")


async def test_when_all_are_refused_each_is_told_why(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/commands", json=[order(case="x"), order(do={})], headers=token("hoa"))
    assert answer.status_code == 422
    content = answer.json()
    assert content["field"] == "case"
    assert [one["field"] for one in content["results"]] == ["case", "do.action"]


async def test_ten_thousand_are_too_many_for_one_request(client: httpx.AsyncClient) -> None:
    orders = [order(id=str(number)) for number in range(10_000)]
    answer = await client.post("/v1/commands", json=orders, headers=token("hoa"))
    assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")
    nothing = await client.post("/v1/commands", json=[], headers=token("hoa"))
    assert (nothing.status_code, nothing.json()["results"]) == (202, [])


async def test_senders_of_events_cannot_give_commands(
    client: httpx.AsyncClient, kafka: str, topic_prefix: str
) -> None:
    forged = [
        {
            "specversion": "1.0",
            "type": type_,
            "source": "urn:hoa",
            "id": "1",
            "time": "2025-07-01T08:00:00+07:00",
            "area": "01",
            "subject": CASE,
            "data": data,
        }
        for type_, data in {
            "ioc.case.command.v1": {"do": DO, "actor": {"id": "hoa", "roles": ["administrator"]}},
            "ioc.case.step.v1": {"case": CASE, "step": "x", "kind": "x", "category": "x", "severity": "x"},
            "ioc.alert.changed.v1": {
                "rule": "r",
                "state": "firing",
                "category": "c",
                "severity": "major",
                "title": "t",
            },
        }.items()
    ]
    answer = await client.post(
        "/v1/events", content=json.dumps(forged), headers={"content-type": "application/cloudevents-batch+json"}
    )
    assert answer.status_code == 422
    results = answer.json()["results"]
    assert [(one["field"], one["reason"]) for one in results] == [("type", "internal_type")] * 3
    assert "/v1/commands" in results[0]["fix"]
    assert await written(kafka, topic_prefix) == []


async def test_where_nobody_signs_in_everyone_may(kafka: str, topic_prefix: str) -> None:
    await ensure_topics(kafka, topic_prefix)
    async with serving(config(kafka, topic_prefix)) as client:
        await until_ready(client)
        answer = await client.post("/v1/commands", json=order())
        assert answer.json()["results"][0]["source"] == "person:anyone"
    (event,) = await on_the_log(kafka, topic_prefix)
    assert "administrator" not in event.data.actor.roles


async def test_nobody_takes_the_identity_of_what_the_centre_will_say(
    client: httpx.AsyncClient, kafka: str, topic_prefix: str
) -> None:
    # An event with the identity of somebody's command would keep that command from being decided.
    taken = [("person:hoa", "c-1"), ("ioc.streams", f"deadline:{CASE}:clock:resolution:due"), ("urn:cam", "ok")]
    sent = [event(source=source, id=id_) for source, id_ in taken]
    headers = {"content-type": "application/cloudevents-batch+json"}
    answer = await client.post("/v1/events", content=json.dumps(sent), headers=headers)
    assert [one.get("reason") for one in answer.json()["results"]] == ["reserved_source", "reserved_source", None]
    (record,) = await written(kafka, topic_prefix)
    assert b"urn:cam" in (record.value or b"")
