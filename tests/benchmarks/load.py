"""How many requests a second does an HTTP server answer?

`python load.py URL CONTENT_TYPE BODY_FILE CONNECTIONS SECONDS` sends one body over keep-alive connections, each with
one request at a time, and prints a line of JSON. It speaks raw sockets in a process of its own, so that the server
is what is measured.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop


class Sender(asyncio.Protocol):
    """One connection: sends the next request when the answer to the last one is complete."""

    def __init__(self, request: bytes, statuses: dict[int, int], waits_s: list[float]) -> None:
        self.request = request
        self.statuses = statuses
        self.waits_s = waits_s
        self.buffer = b""
        self.sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self.send()

    def send(self) -> None:
        self.sent_s = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        if len(rest) < length:
            return
        status = int(lines[0].split()[1])
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.waits_s.append(time.perf_counter() - self.sent_s)
        self.buffer = b""
        self.send()


async def load(url: str, content_type: str, body: bytes, connections: int, seconds: float) -> dict[str, object]:
    """Sends for `seconds`; returns requests a second, seconds, counts by status, and waits in milliseconds."""
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    statuses: dict[int, int] = {}
    waits_s: list[float] = []
    loop = asyncio.get_running_loop()
    begun_s = time.perf_counter()
    senders = [
        await loop.create_connection(
            lambda: Sender(head.encode() + body, statuses, waits_s), parts.hostname, parts.port
        )
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    took_s = time.perf_counter() - begun_s
    answered = len(waits_s)
    for transport, _ in senders:
        transport.abort()
    waits_s.sort()
    return {
        "requests_per_s": round(answered / took_s, 1),
        "seconds": took_s,
        "statuses": statuses,
        "p50_ms": round(waits_s[answered // 2] * 1000, 2) if answered else None,
        "p99_ms": round(waits_s[answered * 99 // 100] * 1000, 2) if answered else None,
    }


if __name__ == "__main__":
    _, url, content_type, body_file, connections, seconds = sys.argv
    body = Path(body_file).read_bytes()
    print(json.dumps(uvloop.run(load(url, content_type, body, int(connections), float(seconds)))))
