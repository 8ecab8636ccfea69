"""Does somebody hear what became of a command as soon as it is decided, and nobody else?"""

import asyncio
import hashlib
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from dashboard_api.commands import Waiting, source_of
from dashboard_api.config import Bounds, DashboardConfig
from dashboard_api.database import Database
from schemas.case import Entry, Kind, Member, Offer, OfferStep
from schemas.command import Actor, AddNote, Confirm, Reveal
from schemas.personal import KEY_BYTES, KeyRing, Personal, Reporter, encode_personal, encrypt, event_identity
from tests.dashboard.case_centre import Centre, actor, case_centre
from tests.dashboard.case_rows import OPENED_AT, case, put_cases, put_command, put_entries, put_event, tell
from tests.dashboard.centre import hear, say

RING = KeyRing({"1": b"k" * KEY_BYTES}, "1", b"i" * KEY_BYTES)
NOTE = AddNote(text="seen")


async def test_an_outcome_is_read_by_its_sender_alone(tables: str) -> None:
    async with case_centre(tables) as centre:
        await put_cases(centre.connection, case("a", version=4))
        await put_command(centre.connection, actor("olga"), "c1", "a", NOTE, state="new", version=4)
        await put_command(centre.connection, actor("olga"), "c2", "a", NOTE, refusal="stale", state="new", version=4)
        await put_command(
            centre.connection, actor("olga"), "c3", "b", NOTE, refusal="unknown_case", state="new", version=9
        )
        applied = await centre.ask("/v1/commands/c1", "olga")
        assert applied.status_code == 200
        assert applied.json() | {"made_at": "", "decided_at": ""} == {
            "id": "c1",
            "source": "person:olga",
            "state": "applied",
            "case": "a",
            "action": "note",
            "case_state": "new",
            "version": 4,
            "made_at": "",
            "decided_at": "",
        }
        rejected = (await centre.ask("/v1/commands/c2", "olga")).json()
        assert (rejected["state"], rejected["reason"], rejected["case_state"]) == ("rejected", "stale", "new")
        # Of a case that one may not know of nothing is said, whatever the table holds.
        unknown = (await centre.ask("/v1/commands/c3", "olga")).json()
        assert (unknown["reason"], "case_state" in unknown, "version" in unknown) == ("unknown_case", False, False)
        for person in ("paul", "ada"):
            other = await centre.ask("/v1/commands/c1", person)
            assert (other.status_code, other.json()["state"]) == (202, "pending")
        assert (await centre.ask("/v1/commands/c1")).status_code == 401


async def test_a_citizen_reads_the_outcome_with_the_secret(tables: str) -> None:
    secret = "known to one"
    tracking = hashlib.sha256(secret.encode()).hexdigest()
    citizen = Actor(id="citizen", roles=("citizen",), tracking=tracking)
    async with case_centre(tables) as centre:
        await put_cases(centre.connection, case("a", tracking=(tracking,)))
        await put_command(centre.connection, citizen, "k1", "a", Confirm(), source=source_of(citizen))
        assert (await centre.ask("/v1/commands/k1", secret=secret)).json()["state"] == "applied"
        assert (await centre.ask("/v1/commands/k1", secret="another")).status_code == 202
        assert (await centre.ask("/v1/commands/k1", "olga")).status_code == 202


async def test_who_waits_is_told_when_it_is_decided(tables: str) -> None:
    # Nothing else wakes those who wait: the next look by itself would be in a minute.
    async with case_centre(tables, poll_s=60.0) as centre:
        await put_cases(centre.connection, case("a"))
        asked = [asyncio.create_task(centre.ask(f"/v1/commands/w{n % 5}", "olga", wait=30)) for n in range(20)]
        await asyncio.sleep(0.5)
        assert not any(task.done() for task in asked)
        async with centre.connection.transaction():
            for n in range(5):
                await put_command(centre.connection, actor("olga"), f"w{n}", "a", NOTE)
            await tell(centre.connection, commands=True)
        answers = await asyncio.gather(*asked)
        assert {answer.status_code for answer in answers} == {200}
        assert sorted({answer.json()["id"] for answer in answers}) == [f"w{n}" for n in range(5)]


async def test_who_waits_for_nothing_is_told_that_it_is_pending(tables: str) -> None:
    async with case_centre(tables) as centre:
        answer = await centre.ask("/v1/commands/never", "olga", wait=0.3)
        assert (answer.status_code, answer.json()) == (
            202,
            {"id": "never", "source": "person:olga", "state": "pending"},
        )
        assert (await centre.ask("/v1/commands/never", "olga", wait=31)).status_code == 422


async def test_beyond_the_bound_nobody_waits(tables: str) -> None:
    async with case_centre(tables, waiters_max=1) as centre:
        first = asyncio.create_task(centre.ask("/v1/commands/late", "olga", wait=30))
        await asyncio.sleep(0.5)
        second = await centre.ask("/v1/commands/late", "olga", wait=30)
        assert second.json()["state"] == "pending"
        await put_cases(centre.connection, case("a"))
        await put_command(centre.connection, actor("olga"), "late", "a", NOTE)
        assert (await first).json()["state"] == "applied"


class CountingDatabase(Database):
    """Counts how often it is asked."""

    asked = 0

    def reading(self, query: str) -> Any:
        self.asked += 1
        return super().reading(query)


async def test_a_thousand_who_wait_are_one_question(tables: str) -> None:
    config = DashboardConfig(
        database_url=tables, current_site=lambda: pytest.fail("no site is needed"), bounds=Bounds(poll_s=60.0)
    )
    database = CountingDatabase(config)
    database.came()
    waiting = Waiting(config, database)
    task = asyncio.create_task(waiting.run())
    async with case_centre(tables) as centre:
        try:
            waiters = [asyncio.create_task(waiting.outcome(("person:olga", f"m{n}"), 20)) for n in range(1000)]
            await asyncio.sleep(0.5)
            before = database.asked
            assert before <= 5
            async with centre.connection.transaction():
                await centre.connection.executemany(
                    """INSERT INTO command (source, id, subject, action, is_applied, made_at)
                    VALUES ('person:olga', $1, 'a', 'note', true, clock_timestamp())""",
                    [(f"m{n}",) for n in range(1000)],
                )
            waiting.wake()
            outcomes = await asyncio.gather(*waiters)
            assert {outcome.state for outcome in outcomes} == {"applied"}
            assert database.asked - before <= 2
        finally:
            task.cancel()
            await database.close()


async def test_outcomes_are_told_live_and_after_a_reconnection(tables: str) -> None:
    async with case_centre(tables) as centre:
        await put_cases(centre.connection, case("a"))
        async with centre.live("olga") as olga, centre.live("wim") as wim:
            for client in (olga, wim):
                await say(client, op="subscribe", kpis=[], commands=True)
                await hear(client, "snapshot")
            async with centre.connection.transaction():
                await put_command(centre.connection, actor("olga"), "c1", "a", NOTE)
                await put_command(centre.connection, actor("wim"), "c2", "a", NOTE, refusal="forbidden")
                await tell(centre.connection, commands=True)
            of_olga, of_wim = await hear(olga, "change"), await hear(wim, "change")
            assert [(one["id"], one["state"]) for one in of_olga["outcomes"]] == [("c1", "applied")]
            assert [(one["id"], one["reason"]) for one in of_wim["outcomes"]] == [("c2", "forbidden")]
        async with centre.connection.transaction():
            await put_command(centre.connection, actor("olga"), "c3", "a", NOTE)
            await tell(centre.connection, commands=True)
        async with centre.live("olga") as olga:
            await say(olga, op="subscribe", kpis=[], commands=True, cases={}, position=of_olga["position"])
            resumed = await hear(olga, "change", "snapshot")
            assert resumed.get("resumed")
            assert [one["id"] for one in resumed["outcomes"]] == ["c3"]
            # Cases are told whole: what the client had may be out of date.
            assert [one["id"] for one in resumed["cases"]] == ["a"]


async def put_personal(centre: Centre, source: str, id_: str, personal: Personal) -> None:
    """Keeps what is personal as the workers do."""
    key = b"p" * KEY_BYTES
    await centre.connection.execute(
        "INSERT INTO person_key (person, wrapped) VALUES ($1, $2)", id_, RING.wrap(key, id_)
    )
    sealed = encrypt(key, encode_personal(personal), event_identity(source, id_))
    await centre.connection.execute(
        "INSERT INTO personal (source, id, person, received_at, sealed) VALUES ($1, $2, $2, $3, $4)",
        *(source, id_, OPENED_AT, sealed),
    )


async def test_what_is_masked_is_shown_once_to_who_asked_for_it(tables: str) -> None:
    member = Member(source="cameras", id="i1", type="ioc.camera.incident.v1", at=OPENED_AT, case="a")
    reported = Member(source="hotline", id="r1", type="ioc.feedback.received.v1", at=OPENED_AT, case="a")
    violation = case("a", kind=Kind.VIOLATION, plate="30*-***.45", members=(member, reported), agency="works")
    mai = Reporter(name="Mai", phone="0912 345 678", language="vi")
    async with case_centre(tables, config={"key_ring": RING}) as centre:

        async def look(showing: str, person: str = "wim", at: str = "a") -> Any:
            return await centre.ask(f"/v1/cases/{at}/revealed?showing={showing}", person)

        async def ask(person: str, id_: str, subject: str, what: Any = "plate", **given: Any) -> None:
            reveal = Reveal(what=what, reason="to send the notice")
            await put_command(centre.connection, actor(person), id_, subject, reveal, **{"version": 1, **given})

        await put_cases(centre.connection, violation, case("b", agency="works"))
        await put_personal(centre, "cameras", "i1", Personal(plate="30A-123.45"))
        await put_personal(centre, "hotline", "r1", Personal(reporter=mai, title="A door", text="at my door"))
        assert (await centre.ask("/v1/cases/a/revealed", "wim")).json()["field"] == "showing"
        assert (await look("never")).json()["reason"] == "not_revealed"
        await ask("wim", "old", "a", age=timedelta(minutes=1, seconds=1))
        await ask("wim", "no", "a", refusal="forbidden")
        await ask("wim", "other", "b")
        await ask("olga", "others", "a")
        for showing in ("old", "no", "other", "others"):
            assert (await look(showing)).json()["reason"] == "not_revealed", showing
        await ask("wim", "yes", "a")
        shown = await look("yes")
        assert shown.headers["cache-control"] == "no-store"
        body = shown.json()
        assert body.pop("asked_at")
        at = body["items"][0].pop("at")
        assert datetime.fromisoformat(at) == OPENED_AT
        assert body == {
            "case": "a",
            "showing": "yes",
            "what": "plate",
            "reason": "to send the notice",
            "items": [{"source": "cameras", "id": "i1", "plate": "30A-123.45"}],
        }
        # Once: to look again is another command, and another line on the record.
        again = (await look("yes")).json()
        assert (again["reason"], again["field"]) == ("not_revealed", "showing")
        assert "one look" in again["detail"]
        # The case itself stays masked, and for some roles has no plate at all.
        assert (await centre.ask("/v1/cases/a", "wim")).json()["plate"] == "30*-***.45"
        assert "plate" not in (await centre.ask("/v1/cases/a", "lena")).json()
        assert (await look("yes", "lena")).status_code == 403
        await ask("wim", "who", "a", "reporter")
        (who,) = (await look("who")).json()["items"]
        assert (who["who"], who["contact"]) == ("Mai", {"phone": "0912 345 678", "language": "vi"})
        assert (who["title"], who["words"], "plate" in who) == ("A door", "at my door", False)
        # Who was erased stays erased.
        await centre.connection.execute("UPDATE person_key SET wrapped = NULL WHERE person = 'r1'")
        await ask("wim", "gone", "a", "reporter")
        (erased,) = (await look("gone")).json()["items"]
        assert erased == {"source": "hotline", "id": "r1", "at": at, "erased": True}


async def test_of_several_who_look_at_once_by_one_command_one_is_shown(tables: str) -> None:
    async with case_centre(tables, config={"key_ring": RING}) as centre:
        await put_cases(centre.connection, case("a", agency="works"))
        reveal = Reveal(what="reporter", reason="to call back")
        await put_command(centre.connection, actor("wim"), "c", "a", reveal, version=1)
        path = "/v1/cases/a/revealed?showing=c"
        answers = await asyncio.gather(*(centre.ask(path, "wim") for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [200, 403, 403, 403, 403]


async def test_who_handles_a_case_reads_what_the_citizen_wrote_and_not_who_it_was(tables: str) -> None:
    def member(id_: str, **given: Any) -> Member:
        return Member(source="hotline", id=id_, type="ioc.feedback.received.v1", at=OPENED_AT, case="a", **given)

    offer = Offer(number=1, unit="u1", step=OfferStep.OFFERED, at={OfferStep.OFFERED: OPENED_AT})
    members = (member("r1"), member("r2"), member("r3", corrected_by="r4"), member("r5"))
    reported = case("a", members=members, agency="works", offers=(offer,))
    mai = Reporter(name="Mai", phone="0912 345 678")
    async with case_centre(tables, config={"key_ring": RING}) as centre:
        await put_cases(centre.connection, reported)
        await put_personal(centre, "hotline", "r1", Personal(reporter=mai, text="at my door"))
        await put_event(centre.connection, "a", "nobody wrote this", id_="r2")
        for id_, text in (("r3", "wrong"), ("r4", "right")):
            await put_personal(centre, "hotline", id_, Personal(reporter=mai, text=text))
        await put_personal(centre, "hotline", "r5", Personal(reporter=mai, text="gone"))
        await centre.connection.execute("UPDATE person_key SET wrapped = NULL WHERE person = 'r5'")
        for person, reads in (("wim", True), ("uma", True), ("lena", False), ("ada", False)):
            answer = await centre.ask("/v1/cases/a", person)
            signals = answer.json()["signals"]
            said = [(one.get("text"), one.get("erased", False)) for one in signals]
            everything = [("at my door", False), ("nobody wrote this", False), ("right", False), (None, True)]
            assert said == (everything if reads else [(None, False)] * 4), person
            for word in ("Mai", "0912", "wrong", "gone"):
                assert word not in answer.text
    # Without keys nothing can be opened, and what was erased is known all the same.
    async with case_centre(tables) as centre:
        signals = (await centre.ask("/v1/cases/a", "wim")).json()["signals"]
        assert [(one.get("text"), one.get("erased", False)) for one in signals] == [
            (None, False),
            ("nobody wrote this", False),
            (None, False),
            (None, True),
        ]


async def test_what_a_citizen_wrote_stands_for_a_title_to_who_handles_the_case(tables: str) -> None:
    def member(id_: str) -> Member:
        return Member(source="hotline", id=id_, type="ioc.feedback.received.v1", at=OPENED_AT, case=id_)

    offer = Offer(number=1, unit="u1", step=OfferStep.OFFERED, at={OfferStep.OFFERED: OPENED_AT})
    long = "đèn đường hỏng\n" * 20
    parts = {
        "a": Personal(title="Mai's own title", text="at my door"),
        "b": Personal(text=long),
        "c": Personal(text="staff have named it"),
    }
    excerpts = {"a": "Mai's own title", "b": f"{' '.join(long.split())[:119].rstrip()}…"}
    async with case_centre(tables, config={"key_ring": RING}) as centre:
        for id_, personal in parts.items():
            title = "Street light" if id_ == "c" else ""
            await put_cases(
                centre.connection, case(id_, title=title, members=(member(id_),), agency="works", offers=(offer,))
            )
            await put_personal(centre, "hotline", id_, personal)
        for person, reads in (("wim", True), ("uma", True), ("lena", False), ("ada", False)):
            listed = (await centre.ask("/v1/cases", person)).json()["items"]
            expected = excerpts if reads else {}
            assert {one["id"]: one["excerpt"] for one in listed if "excerpt" in one} == expected, person
            assert {one["id"]: one["title"] for one in listed} == {"a": "", "b": "", "c": "Street light"}
            detail = (await centre.ask("/v1/cases/a", person)).json()
            assert detail.get("excerpt") == expected.get("a")
            assert detail["signals"][0].get("title") == expected.get("a")
        # No file takes it further.
        for form in ("csv", "geojson"):
            answer = await centre.ask("/v1/cases", "wim", format=form)
            assert "own title" not in answer.text
        # The live feed tells each the same as a list does, at once and when something changes.
        async with centre.live("wim") as wim, centre.live("lena") as lena:
            for client, expected in ((wim, excerpts), (lena, {})):
                await say(client, op="subscribe", kpis=[], cases={})
                told = (await hear(client, "snapshot"))["cases"]
                assert {one["id"]: one["excerpt"] for one in told if "excerpt" in one} == expected
            await put_cases(centre.connection, case("a", title="", version=2, members=(member("a"),), agency="works"))
            await tell(centre.connection, cases=["a"])
            (changed,) = (await hear(wim, "change"))["cases"]
            assert (changed["version"], changed["excerpt"]) == (2, "Mai's own title")
            (changed,) = (await hear(lena, "change"))["cases"]
            assert (changed["version"], "excerpt" in changed) == (2, False)
        await centre.connection.execute("UPDATE person_key SET wrapped = NULL WHERE person = 'a'")
        listed = (await centre.ask("/v1/cases", "wim")).json()["items"]
        assert {one["id"] for one in listed if "excerpt" in one} == {"b"}


async def test_what_a_citizen_answered_is_read_in_the_timeline_and_by_the_citizen(tables: str) -> None:
    secret, other = "of one", "of another"
    tracking, others = (hashlib.sha256(one.encode()).hexdigest() for one in (secret, other))
    members = tuple(
        Member(source="hotline", id=id_, type="ioc.feedback.received.v1", at=OPENED_AT, case="a", tracking=hash_)
        for id_, hash_ in (("r1", tracking), ("r2", others))
    )

    def line(number: int, hash_: str, *, public: bool = True) -> Entry:
        sealed = (f"citizen:{hash_[:16]}", f"c{number}")
        given: dict[str, Any] = {"action": "reply", "public": public, "sealed": sealed, "detail": {"words": 9}}
        return Entry(case="a", number=number, at=OPENED_AT, recorded_at=OPENED_AT, **given)

    lines = (line(1, tracking), line(2, others), line(3, tracking, public=False))
    one = case("a", title="", agency="works", members=members, tracking=(tracking, others))
    async with case_centre(tables, config={"key_ring": RING}) as centre:
        await put_cases(centre.connection, one)
        await put_entries(centre.connection, *lines)
        await put_personal(centre, "hotline", "r1", Personal(title="My own title", text="at my door"))
        for number, entry in enumerate(lines, 1):
            assert entry.sealed is not None
            await put_personal(centre, *entry.sealed, Personal(text=f"answer {number}"))
        path = "/v1/cases/a/timeline"
        for person, reads in (("wim", True), ("lena", False), ("ada", False)):
            items = (await centre.ask(path, person)).json()["items"]
            assert [item.get("text") for item in items] == (
                [f"answer {n}" for n in (1, 2, 3)] if reads else [None] * 3
            )
            assert [item["detail"] for item in items] == [{"words": 9}] * 3
        # A citizen reads what is their own, and of others who follow the same case that they have answered.
        mine = (await centre.ask("/v1/track", secret=secret)).json()
        assert mine["title"] == "My own title"
        assert [said["text"] for said in mine["timeline"]] == ["answer 1", ""]
        theirs = (await centre.ask("/v1/track", secret=other)).json()
        assert (theirs["title"], [said["text"] for said in theirs["timeline"]]) == ("", ["", "answer 2"])
        await centre.connection.execute("UPDATE person_key SET wrapped = NULL WHERE person IN ('c1', 'r1')")
        items = (await centre.ask(path, "wim")).json()["items"]
        assert [(item.get("text"), item.get("erased", False)) for item in items[:2]] == [
            (None, True),
            ("answer 2", False),
        ]
        mine = (await centre.ask("/v1/track", secret=secret)).json()
        assert (mine["title"], [said["text"] for said in mine["timeline"]]) == ("", ["", ""])


async def test_a_report_keeps_its_words_when_the_centre_itself_corrects_it(tables: str) -> None:
    """That says what the report turned out to be, and is an event without words that stands in the report's place."""
    member = Member(
        source="hotline", id="r1", type="ioc.feedback.received.v1", at=OPENED_AT, case="a", corrected_by="corrected:1"
    )
    async with case_centre(tables, config={"key_ring": RING}) as centre:
        await put_cases(centre.connection, case("a", agency="works", members=(member,)))
        await put_personal(centre, "hotline", "r1", Personal(text="wrong"))
        await put_personal(centre, "hotline", "r2", Personal(text="right"))
        for id_ in ("r2", "corrected:1"):
            await put_event(centre.connection, "a", "", id_=id_)
            await centre.connection.execute("UPDATE event SET corrects = 'r1' WHERE id = $1", id_)
        await centre.connection.execute(
            "UPDATE personal SET received_at = received_at + interval '1 hour' WHERE id = 'r2'"
        )
        (signal,) = (await centre.ask("/v1/cases/a", "wim")).json()["signals"]
        assert signal["text"] == "right"


async def test_a_reveal_is_of_what_the_case_had_then_with_its_corrections(tables: str) -> None:
    """Also of a signal that had come in long before, and was merged into the case only since."""
    members = tuple(
        Member(source="hotline", id=id_, type="ioc.feedback.received.v1", at=OPENED_AT, case="a", corrected_by=by)
        for id_, by in (("r1", "r2"), ("r3", None))
    )
    async with case_centre(tables, config={"key_ring": RING}) as centre:
        before = case("a", agency="works", members=members[:1])
        await put_cases(centre.connection, before)
        await put_personal(centre, "hotline", "r1", Personal(reporter=Reporter(name="Mai")))
        await put_personal(centre, "hotline", "r2", Personal(reporter=Reporter(name="Mai Anh")))
        await put_personal(centre, "hotline", "r3", Personal(reporter=Reporter(name="Merged")))
        reveal = Reveal(what="reporter", reason="to call back")
        await put_command(centre.connection, actor("wim"), "c1", "a", reveal, version=before.version)
        after = replace(before, members=members, version=before.version + 1)
        await centre.connection.execute(
            "UPDATE cases SET body = $2, version = $3 WHERE id = $1", "a", msgspec.json.encode(after), after.version
        )
        await put_command(centre.connection, actor("wim"), "c2", "a", reveal, version=after.version)
        # Decided on a version that another one followed in the same transaction: it is not kept.
        await put_command(centre.connection, actor("wim"), "c3", "a", reveal, version=after.version + 1)
        last = ["Mai", "Mai Anh", "Merged"]
        for showing, names in (("c1", ["Mai", "Mai Anh"]), ("c2", last), ("c3", last)):
            shown = await centre.ask(f"/v1/cases/a/revealed?showing={showing}", "wim")
            assert [item["who"] for item in shown.json()["items"]] == names
