"""Does the live feed show what was committed: all of it, in order, once?"""

import asyncio
import time

from tests.dashboard.centre import Report, Sample, dashboard, hear, say, writer


async def test_a_snapshot_then_what_is_committed_after_it(tables: str) -> None:
    now_s = int(time.time())
    async with dashboard(tables) as running, writer(tables) as stream, running.live() as client:
        await stream.commit([Sample(kpi="feedback_received", area="01", time_s=now_s, dim="road")])
        await say(client, op="subscribe", kpis=["feedback_received"], areas=["00", "01"], tier="day", points=3)
        snapshot = await hear(client, "snapshot")
        assert [series["area"] for series in snapshot["series"]] == ["00", "01"]
        assert [point["value"] for point in snapshot["series"][0]["points"]] == [0, 0, 1]
        assert snapshot["series"][0]["last_minute"] == now_s // 60 * 60

        await stream.commit(
            [Sample(kpi="feedback_received", area="01", time_s=now_s, dim="light")], [Report(id="r1", area="01")]
        )
        change = await hear(client, "change")
        assert {(v["area"], v["value"]) for v in change["values"]} == {("00", 2), ("01", 2)}
        assert [event["event"]["id"] for event in change["events"]] == ["r1"]
        assert [source["id"] for source in change["sources"]] == ["hotline"]
        heartbeat = await hear(client, "heartbeat")
        assert heartbeat["feed"]["state"] == "live"
        await asyncio.sleep(0)
