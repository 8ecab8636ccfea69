"""Which events do the benchmarks count?

Over 200 communes in 40 districts of 4 provinces, 10,000 events a second of event time. Either camera detections
alone, which feed one KPI, or a mixture for the whole reference catalogue: of 100 events 65 detections, 34 samples of
service metrics and one closed report.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from schemas.codec import CONTENT_TYPE
from schemas.site import Pack, Site, parse_site
from schemas.topics import CASES, DETECTIONS, METRICS

AREAS = 200
PARTITIONS = 8
EVENTS_PER_SECOND = 10_000
KINDS = ("car", "person", "bike")
SERVICES = ("portal", "desk", "payments", "maps", "identity")
METRICS_SEEN = ("up", "http_requests", "http_errors", "response_time", "saturation")
START_S = 1_780_000_000  # any moment; fixed, so that every run folds the same minutes
BATCH_BYTES = 512 * 1024

ROOT = "C"
_HEADERS = [("content-type", CONTENT_TYPE.encode())]

_SITE_TOML = """
id = "bench"
names = { vi = "Đo", en = "Bench" }
zone = "Asia/Ho_Chi_Minh"
area_list = "bench"
languages = ["vi", "en"]


[retention]
minute_days = 10000
"""

_ONE_KPI = """
[[kpi]]
id = "camera.detections"
names = { vi = "Lượt phát hiện", en = "Detections" }
unit = "1"
event = "ioc.camera.detection.v1"
measure = "sum"
value = "count"
dimensions = ["kind"]
"""


def _areas(communes: int) -> str:
    """A country of four levels."""
    rows = ["code,parent,kind,name_vi,name_en", f"{ROOT},,country,Nước,Country"]
    rows += [f"P{n},{ROOT},province,Tỉnh {n},Province {n}" for n in range(4)]
    rows += [f"D{n:02},P{n % 4},district,Huyện {n},District {n}" for n in range(40)]
    rows += [f"{n:05},D{n % 40:02},commune,Xã {n},Commune {n}" for n in range(communes)]
    return "\n".join(rows) + "\n"


class Workload(NamedTuple):
    """What is counted: `kpis` is `one`, `reference` or a number of copies of the one, in so many `communes`."""

    kpis: str
    communes: int

    @classmethod
    def parse(cls, text: str) -> "Workload":
        """Reads `one`, `reference`, `10` or `one@2000`."""
        kpis, _, communes = text.partition("@")
        return cls(kpis, int(communes or AREAS))


def pack(workload: str) -> Pack:
    """The site pack of a workload."""
    kpis, communes = Workload.parse(workload)
    if kpis == "one":
        text = _ONE_KPI
    elif kpis == "reference":
        text = (files("deploy") / "sites" / "vietnam" / "kpis.toml").read_text(encoding="utf-8")
    else:
        text = "".join(_ONE_KPI.replace("camera.detections", f"camera.detections.{n}") for n in range(int(kpis)))
    return {"site.toml": _SITE_TOML, "areas.csv": _areas(communes), "kpis.toml": text}


@cache
def site(workload: str = "one") -> Site:
    """The pack, parsed."""
    return parse_site(pack(workload))


def detection(number: int, communes: int = AREAS) -> bytes:
    """The value of event `number` on the log: what `ingest` writes for a camera."""
    camera = number % PARTITIONS
    time = datetime.fromtimestamp(START_S + number / EVENTS_PER_SECOND, UTC).isoformat(timespec="milliseconds")
    return (
        f'{{"specversion":"1.0","type":"ioc.camera.detection.v1","id":"{number:012}","source":"//cameras/{camera}",'
        f'"time":"{time}","area":"{number // PARTITIONS % communes:05}",'
        f'"data":{{"camera":"camera-{camera}","kind":"{KINDS[number % 3]}","count":{1 + number % 3},"score":0.87}},'
        f'"receivedat":"{time}","arealist":"bench"}}'
    ).encode()


def mixed(number: int) -> tuple[str, bytes, bytes]:
    """The topic, key and value of event `number` of the mixture."""
    place = number % 100
    if place < 65:
        return DETECTIONS.name, f"//cameras/{number % PARTITIONS}".encode(), detection(number)
    camera = number % PARTITIONS
    moment = datetime.fromtimestamp(START_S + number / EVENTS_PER_SECOND, UTC)
    time = moment.isoformat(timespec="milliseconds")
    # Cameras stand in communes; services are run, and reports closed, by districts.
    area = f"D{number // PARTITIONS % 40:02}"
    common = f'"specversion":"1.0","id":"{number:012}","time":"{time}","area":"{area}","receivedat":"{time}"'
    if place < 99:
        # A value that differs from one sample to the next, as response times do.
        value = number * 2_654_435_761 % 4_294_967_296 / 4_294_967_296
        return (
            METRICS.name,
            f"//services/{camera}".encode(),
            (
                f'{{{common},"type":"ioc.service.metric.v1","source":"//services/{camera}","arealist":"bench",'
                f'"data":{{"service":"{SERVICES[number % 5]}","metric":"{METRICS_SEEN[number // 7 % 5]}",'
                f'"value":{value:.6f}}}}}'
            ).encode(),
        )
    opened = (moment - timedelta(hours=number % 200)).isoformat(timespec="milliseconds")
    due = (moment + timedelta(hours=number % 72 - 24)).isoformat(timespec="milliseconds")
    return (
        CASES.name,
        f"//hotline#{number}".encode(),
        (
            f'{{{common},"type":"ioc.feedback.closed.v1","source":"//hotline","subject":"{number}",'
            f'"arealist":"bench","data":{{"category":"road","agency":"A{number % 7}","channel":"app",'
            f'"opened_at":"{opened}","due_at":"{due}"}}}}'
        ).encode(),
    )


async def fill(bootstrap: str, prefix: str, events: int, workload: str) -> None:
    """Writes events 0 … events-1 to their topics, the partition being the number's remainder."""

    kpis, communes = Workload.parse(workload)

    def only_detections(number: int) -> tuple[str, bytes, bytes]:
        return DETECTIONS.name, f"//cameras/{number % PARTITIONS}".encode(), detection(number, communes)

    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_batch_size=BATCH_BYTES)
    await producer.start()
    try:
        for partition in range(PARTITIONS):
            numbers = range(partition, events, PARTITIONS)
            await _fill(producer, prefix, partition, numbers, mixed if kpis == "reference" else only_detections)
    finally:
        await producer.stop()


async def _fill(
    producer: AIOKafkaProducer,
    prefix: str,
    partition: int,
    numbers: Iterable[int],
    event: Callable[[int], tuple[str, bytes, bytes]],
) -> None:
    batches = {topic.name: producer.create_batch() for topic in (DETECTIONS, METRICS, CASES)}
    for number in numbers:
        topic, key, value = event(number)
        if batches[topic].append(key=key, value=value, timestamp=None, headers=_HEADERS) is None:
            batches[topic].close()
            await producer.send_batch(batches[topic], prefix + topic, partition=partition)
            batches[topic] = producer.create_batch()
            batches[topic].append(key=key, value=value, timestamp=None, headers=_HEADERS)
    for topic, batch in batches.items():
        if batch.record_count():
            batch.close()
            await producer.send_batch(batch, prefix + topic, partition=partition)
