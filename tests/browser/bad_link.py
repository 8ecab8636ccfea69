"""What does a phone in a mountain commune have between itself and the centre?

A proxy in this process: so many bytes a second each way, a delay, and connections that are reset in the middle.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from msgspec import Struct

CHUNK_BYTES = 512
"""What is passed on at once. On 32 kbit/s that is an eighth of a second."""

QUEUE_CHUNKS_MAX = 64
"""Beyond it the sender has to wait, as before a full buffer."""


class Quality(Struct, frozen=True):
    """How bad it is. `delay_s` is for one way.

    A connection is reset after so many bytes of both ways, drawn between these for each; None: never.
    """

    bits_per_s: float | None = None
    delay_s: float = 0.0
    reset_after_bytes: tuple[int, int] | None = None


class BadLink:
    """The link. `up` is what went to the centre, `down` what came from it, in bytes.

    `carried` has both together, by the path that a connection asked for first.
    """

    def __init__(self, target: str, seed: int = 1) -> None:
        """`target` is the centre's origin."""
        self.quality = Quality()
        self.up = self.down = 0
        self.carried: Counter[str] = Counter()
        self.resets = 0
        self.origin = ""
        self._host, _, port = target.removeprefix("http://").partition(":")
        self._port = int(port)
        self._random = random.Random(seed)
        self._is_cut = False
        self._open: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()
        # All connections of a phone share its link, one byte after the other.
        self._free_at_s = {"up": 0.0, "down": 0.0}

    def worsen(self, quality: Quality) -> None:
        """From now on it is as bad as that. What was open is reset: it would go on as it was."""
        self.quality = quality
        for writer in list(self._open):
            self._reset(writer)

    def cut(self) -> None:
        """No connection goes through any more, and those that are open are reset."""
        self._is_cut = True
        for writer in list(self._open):
            self._reset(writer)

    def mend(self) -> None:
        """Connections go through again."""
        self._is_cut = False

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator["BadLink"]:
        """The link, for as long as the block lasts."""
        server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await server.wait_closed()
            await asyncio.gather(*self._passing)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            self._reset(writer)
            return
        try:
            there_reader, there_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            self._reset(writer)
            return
        ends = (writer, there_writer)
        self._open.update(ends)
        bounds = self.quality.reset_after_bytes
        left = [self._random.randint(*bounds) if bounds else None]
        path = [""]
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._one_way(reader, there_writer, "up", left, path))
                tasks.create_task(self._one_way(there_reader, writer, "down", left, path))
        except* (OSError, EOFError):
            pass
        finally:
            for end in ends:
                self._reset(end)
                self._open.discard(end)

    async def _one_way(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        way: str,
        left: list[int | None],
        path: list[str],
    ) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUE_CHUNKS_MAX)
        loop = asyncio.get_running_loop()

        async def arrive() -> None:
            while True:
                due_s, chunk = await queue.get()
                await asyncio.sleep(due_s - loop.time())
                if not chunk:
                    raise EOFError
                writer.write(chunk)
                await writer.drain()
                setattr(self, way, getattr(self, way) + len(chunk))
                if not path[0]:
                    path[0] = chunk.split(b" ", 2)[1].decode().partition("?")[0]
                self.carried[path[0]] += len(chunk)
                if left[0] is not None:
                    left[0] -= len(chunk)
                    if left[0] < 0:
                        self.resets += 1
                        raise ConnectionResetError

        arriving = asyncio.create_task(arrive())
        try:
            while not arriving.done():
                reading = asyncio.create_task(reader.read(CHUNK_BYTES))
                await asyncio.wait({reading, arriving}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    reading.cancel()
                    break
                chunk = reading.result()
                quality, now_s = self.quality, loop.time()
                takes_s = 0.0 if quality.bits_per_s is None else len(chunk) * 8 / quality.bits_per_s
                self._free_at_s[way] = max(now_s, self._free_at_s[way]) + takes_s
                await queue.put((self._free_at_s[way] + quality.delay_s, chunk))
                if not chunk:
                    break
            await arriving
        finally:
            arriving.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, EOFError):
                await arriving

    @staticmethod
    def _reset(writer: asyncio.StreamWriter) -> None:
        connection: socket.socket | None = writer.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            with contextlib.suppress(OSError):
                # Closed with bytes under way, the other side sees a reset and not a proper end.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
