"""How does a message of the live feed look in MessagePack?

With the same members and values as in JSON: times stay texts.

Source: the MessagePack specification (msgpack.org): integers have at most 64 bits.
"""

from typing import cast

import msgspec

_INTEGERS = range(-(2**63), 2**64)


def packed(text: str) -> bytes:
    """A JSON text in MessagePack. An integer that does not fit becomes the nearest float, as in a browser."""
    value = msgspec.json.decode(text)
    try:
        return msgspec.msgpack.encode(value)
    except OverflowError:
        return msgspec.msgpack.encode(_fitting(value))


def _fitting(value: object) -> object:
    if isinstance(value, dict):
        return {name: _fitting(one) for name, one in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_fitting(one) for one in cast("list[object]", value)]
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INTEGERS:
        return float(value)
    return value
