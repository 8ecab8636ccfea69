"""Of a centre that runs: are dead letters shown without anybody's words, sent again, and is it said what is well?"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec

from deploy.admin import letters
from deploy.admin.app import AdminConfig, create_admin
from deploy.admin.letters import LEFT_OUT, Repaired
from deploy.admin.pack_folder import PackFolder
from deploy.site_folder import SiteFolder
from deploy.web import web_app
from schemas.identity import PEOPLE_FILE
from schemas.site import Pack
from streams.store.outbox import Message, Outbox, enqueue
from tests.dashboard.case_centre import Issuer
from tests.faults.site import write_pack
from tests.repair.hall import Hall, opened
from tests.serving import serving
from tests.streams.world import PACK, raw

PEOPLE = """
[[person]]
id = "tri"
name = "Quản trị"
roles = ["administrator"]
areas = ["00"]
"""
KNOWS: Pack = {**PACK, PEOPLE_FILE: PEOPLE}
WITHOUT: Pack = {**KNOWS, "areas.csv": PACK["areas.csv"].replace(",0102,01,commune,Xã Hai,Commune Two,\n", "")}
WORDS = "Ông Nguyễn Văn A đánh con"


def report(id_: str, area: str) -> bytes:
    """A citizen's report."""
    time = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    return raw("ioc.feedback.received.v1", id=id_, area=area, time=time)


async def counted(hall: Hall) -> set[str]:
    """The ids of the events that are kept."""
    return {row["id"] for row in await hall.connection.fetch("SELECT id FROM event")}


async def test_letters_are_seen_and_sent_again(kafka: str, database_url: str, topic_prefix: str) -> None:
    async with opened(kafka, database_url, topic_prefix, WITHOUT) as hall:
        event = msgspec.json.decode(report("1", "0102"))
        event["data"]["title"] = WORDS
        await hall.send([msgspec.json.encode(event), report("2", "0102"), report("3", "nowhere")])
        await hall.count()
        now = datetime.now(UTC)
        seen = await letters.read_all(hall.places, now)
        assert (seen.total, seen.readable, [one.reason for one in seen.reasons]) == (3, 0, ["unknown_area"])
        assert await letters.count(hall.places) == 3
        assert WORDS not in msgspec.json.encode(seen).decode()
        first = next(one for one in seen.items if one.event["id"] == "1")
        assert first.event["data"]["title"] == LEFT_OUT
        assert first.event["area"] == "0102"
        assert first.fix

        await hall.take_up(KNOWS)
        app = web_app(kafka, database_url, lambda: hall.site, hall.prefix)
        seen = await letters.read_all(hall.places, now)
        assert (seen.readable, seen.reasons[0].readable) == (2, 2)
        async with serving(app) as origin:
            outcome = await letters.send_again(hall.places, origin, "unknown_area")
            assert (outcome.sent, outcome.unreadable) == (2, 1)
            (left,) = (await letters.read_all(hall.places, now)).items
            repaired = Repaired(left.partition, left.offset, msgspec.Raw(report("3", "0202")))
            assert (await letters.send_repaired(hall.places, origin, repaired)).sent == 1
        await hall.count()
        assert await counted(hall) == {"1", "2", "3"}
        assert (await letters.read_all(hall.places, now)).total == 0
        assert await letters.count(hall.places) == 0


async def test_health_and_messages_of_a_centre_that_runs(
    kafka: str, database_url: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with opened(kafka, database_url, topic_prefix, KNOWS) as hall:
        await hall.send([report("1", "0101")])
        await hall.count()
        await hall.connection.execute(
            "INSERT INTO worker (id, state, started_at, beat_at) VALUES ('w-0', 'counting', now(), now())"
        )
        message = Message(id="m-1", channel="webhook", target="x", content_type="text/plain", body=b"x")
        await enqueue(hall.connection, message)
        outbox = Outbox(database_url)
        claimed = await outbox.claim()
        assert claimed is not None
        await outbox.mark_failed(claimed, "the receiver says no", for_good=True)
        await outbox.close()

        folder, issuer = SiteFolder(write_pack(KNOWS, tmp_path / "site")), Issuer()

        async def readiness() -> Mapping[str, Mapping[str, Any]]:
            return {"database": {"state": "up"}}

        config = AdminConfig(
            pack=PackFolder(tmp_path / "site", tmp_path / "data"),
            loaded=lambda: folder.loaded,
            problem=lambda: folder.problem,
            places=hall.places,
            trust=issuer,
            public_url="http://centre",
            address="http://centre",
            readiness=readiness,
        )
        transport = httpx.ASGITransport(create_admin(config), raise_app_exceptions=False)
        headers = issuer.header("tri")
        async with httpx.AsyncClient(transport=transport, base_url="http://centre", headers=headers) as client:
            found = {one["id"]: one for one in (await client.get("/health", timeout=30)).json()["findings"]}
            assert {id_: one["code"] for id_, one in found.items()} == {
                "database": "up",
                "workers": "all",
                "lag": "level",
                "pack": "in_force",
                "history": "whole",
                "disk": found["disk"]["code"],
                "letters": "none",
                "messages": "failed",
                "feed": "comes",
                "certificate": "no_https",
                "versions": "these",
            }
            assert found["lag"]["values"] == {"records": 0, "lost": 0}
            assert found["messages"]["remedy"]
            (unsent,) = (await client.get("/outbox")).json()["items"]
            assert (unsent["id"], unsent["failed"], unsent["last_error"]) == ("m-1", True, "the receiver says no")
            assert (await client.post("/outbox/retry", json={})).json() == {"retried": 1}
            assert (await client.get("/outbox")).json()["backlog"]["failed"] == 0
            # What was once counted as sums does not become a histogram under the same id, also after a restart.
            kpis = KNOWS["kpis.toml"].replace('measure = "mean"\nsince', 'measure = "percentile"\nq = 0.5\nsince', 1)
            seen = (await client.post("/preview", json={"files": {"kpis.toml": kpis}})).json()
            assert "do not merge" in seen["mistakes"][0]["reason"]
