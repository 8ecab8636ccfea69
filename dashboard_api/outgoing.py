"""What is one message, for all who get it?

Many clients are told the same. A message is put together once, and turned into bytes at most once in each form.
"""

from collections.abc import Callable
from enum import StrEnum

from dashboard_api.packed import packed

_TEXT, _BINARY = 0x81, 0x82  # RFC 6455 §5.2: a whole message in one frame
_LENGTH_16, _LENGTH_64 = 126, 127


class Form(StrEnum):
    """How a client reads messages."""

    JSON = "json"
    MSGPACK = "msgpack"


class Message:
    """One message. `text` is its JSON; all forms hold the same."""

    __slots__ = ("_frames", "_made", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._made: dict[str, bytes] = {}
        self._frames: dict[Form, bytes] = {}

    def encoded(self, form: Form) -> bytes:
        """Its bytes in this form."""
        return self.once(form, _ENCODERS[form])

    def frame(self, form: Form) -> bytes:
        """A whole WebSocket frame: of text for JSON, binary for what is not text."""
        frame = self._frames.get(form)
        if frame is None:
            frame = self._frames[form] = _frame(form, self.encoded(form))
        return frame

    def once(self, name: str, make: Callable[[str], bytes]) -> bytes:
        """What `make` makes of the text, made the first time that somebody asks under this name."""
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = make(self.text)
        return made


_ENCODERS: dict[Form, Callable[[str], bytes]] = {
    Form.JSON: str.encode,
    Form.MSGPACK: packed,
}


def _frame(form: Form, body: bytes) -> bytes:
    """What a server sends is not masked (RFC 6455 §5.1), so it is the same for all."""
    first = _TEXT if form is Form.JSON else _BINARY
    if len(body) < _LENGTH_16:
        head = bytes((first, len(body)))
    elif len(body) < 1 << 16:
        head = bytes((first, _LENGTH_16)) + len(body).to_bytes(2)
    else:
        head = bytes((first, _LENGTH_64)) + len(body).to_bytes(8)
    return head + body
