"""On which partition does a key lie?

The same as for every Kafka client with the default partitioner, so that other producers may write beside this one.

Source: Apache Kafka `BuiltInPartitioner.partitionForKey`.
"""

from collections.abc import Callable
from typing import cast

from aiokafka import partitioner

KEYS_MAX = 16_384
"""Keys whose hash is remembered. When they are full all are forgotten: a site has fewer sources, but cases go on."""

_murmur2 = cast("Callable[[bytes], int]", partitioner.murmur2)  # pyright: ignore[reportUnknownMemberType]


class Placement:
    """Hashes keys, and remembers the hashes: one costs some microseconds in pure Python."""

    def __init__(self, keys_max: int = KEYS_MAX) -> None:
        self._keys_max = keys_max
        self._hashes: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._hashes)

    def partition(self, key: bytes, partitions: int) -> int:
        """The partition of `key` on a topic that has `partitions` of them, from 0."""
        hashed = self._hashes.get(key)
        if hashed is None:
            if len(self._hashes) >= self._keys_max:
                self._hashes.clear()
            hashed = self._hashes[key] = _murmur2(key) & 0x7FFF_FFFF
        return hashed % partitions
