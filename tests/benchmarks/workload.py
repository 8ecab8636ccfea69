"""Which events do the benchmarks count?

Camera detections over 200 areas below one city, three kinds of object, 10,000 events a second of event time.
"""

from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer

from schemas.area import Area, AreaTree, Zone
from schemas.codec import CONTENT_TYPE
from schemas.event import AreaCode
from schemas.kpi import Catalogue, Kpi, Measure
from schemas.site import Header, Site

AREAS = 200
PARTITIONS = 8
EVENTS_PER_SECOND = 10_000
KINDS = ("car", "person", "bike")
START_S = 1_780_000_000  # any moment; fixed, so that every run folds the same minutes
BATCH_BYTES = 512 * 1024

_HEADERS = [("content-type", CONTENT_TYPE.encode())]


def site() -> Site:
    """A city of 200 wards with the KPI that the events feed."""
    zone = Zone("Asia/Ho_Chi_Minh")
    city = Area(code=AreaCode("C"), kind="city", names={"en": "City"}, zone=zone)
    wards = [
        Area(code=AreaCode(f"{n:05}"), kind="ward", names={"en": f"Ward {n}"}, zone=zone, parent=city.code)
        for n in range(AREAS)
    ]
    detections = Kpi(
        id="camera.detections",
        names={"en": "Detections"},
        unit="1",
        event="ioc.camera.detection.v1",
        measure=Measure.COUNT,
        value="count",
        dimension="kind",
    )
    header = Header(id="bench", names={"en": "Bench"}, zone=zone, area_list="bench", languages=["en"])
    return Site(header=header, areas=AreaTree("bench", [city, *wards]), kpis=Catalogue([detections]))


def detection(number: int) -> bytes:
    """The value of event `number` on the log: what `ingest` writes for a camera."""
    camera = number % PARTITIONS
    time = datetime.fromtimestamp(START_S + number / EVENTS_PER_SECOND, UTC).isoformat(timespec="milliseconds")
    return (
        f'{{"specversion":"1.0","type":"ioc.camera.detection.v1","id":"{number:012}","source":"//cameras/{camera}",'
        f'"time":"{time}","area":"{number // PARTITIONS % AREAS:05}",'
        f'"data":{{"camera":"camera-{camera}","kind":"{KINDS[number % 3]}","count":{1 + number % 3},"score":0.87}},'
        f'"receivedat":"{time}","arealist":"bench"}}'
    ).encode()


async def fill(bootstrap: str, topic: str, events: int) -> None:
    """Writes events 0 … events-1, the camera's number being the partition."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_batch_size=BATCH_BYTES)
    await producer.start()
    try:
        for partition in range(PARTITIONS):
            batch = producer.create_batch()
            key = f"//cameras/{partition}".encode()
            for number in range(partition, events, PARTITIONS):
                value = detection(number)
                if batch.append(key=key, value=value, timestamp=None, headers=_HEADERS) is None:
                    batch.close()
                    await producer.send_batch(batch, topic, partition=partition)
                    batch = producer.create_batch()
                    batch.append(key=key, value=value, timestamp=None, headers=_HEADERS)
            batch.close()
            await producer.send_batch(batch, topic, partition=partition)
    finally:
        await producer.stop()
