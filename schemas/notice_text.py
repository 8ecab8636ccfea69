"""What are the words of a message?

A template has placeholders in braces; what is not known of a case leaves them empty. Values are put in as they are,
and are never read as placeholders again.
"""

import re
from collections.abc import Mapping

PLACEHOLDERS = (
    "case",
    "title",
    "category",
    "severity",
    "state",
    "area",
    "agency",
    "unit",
    "due",
    "at",
    "result",
    "reason",
    "said",
    "clock",
    "step",
    "other",
    "link",
)
"""What a template may name.

`said` is what was told the citizen at that moment, `due` when the case has to be done, `other` the case that it was
merged into, `clock` and `step` what ran out or was missed, `link` the address that leads to the case.
"""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_SPACES = re.compile(r"[ \t]{2,}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u2028\u2029]")

MORE = "…"

DRILL = {"vi": "[DIỄN TẬP]", "en": "[DRILL]"}
"""Before every message about a drill, whatever its template says."""

SEVERITIES = {
    "vi": {"info": "thông tin", "minor": "nhẹ", "major": "nghiêm trọng", "critical": "khẩn cấp"},
    "en": {"info": "information", "minor": "minor", "major": "major", "critical": "critical"},
}
STATES = {
    "vi": {
        "new": "mới",
        "triaged": "đã phân loại",
        "merged": "đã gộp",
        "assigned": "đã giao",
        "accepted": "đã tiếp nhận",
        "en_route": "đang đến",
        "on_scene": "tại hiện trường",
        "waiting_citizen": "chờ người dân",
        "waiting_agency": "chờ cơ quan khác",
        "resolved": "đã xử lý",
        "confirmed": "đã xác nhận",
        "closed": "đã đóng",
        "rejected": "không xử lý",
        "reopened": "mở lại",
    },
    "en": {"waiting_citizen": "waiting for the citizen", "waiting_agency": "waiting for another agency"},
}
CLOCKS = {
    "vi": {
        "first_answer": "trả lời lần đầu",
        "acceptance": "tiếp nhận",
        "arrival": "đến hiện trường",
        "resolution": "xử lý xong",
    },
    "en": {},
}
STEPS = {
    "vi": {
        "delivered": "nhận tin",
        "seen": "xem tin",
        "accepted": "nhận việc",
        "en_route": "lên đường",
        "on_scene": "đến nơi",
        "done": "xong việc",
    },
    "en": {},
}

NOT_SENT = {
    "vi": "Không gửi được tin “{why}” tới {to} qua kênh {channel}: {reason}.",
    "en": "The message “{why}” to {to} by {channel} was not sent: {reason}.",
}
"""What the timeline says of a message that nobody tries to send any more."""

DIGEST_TITLES = {"vi": "Tổng hợp: {count} thông báo", "en": "Digest: {count} notices"}


def unknown_placeholders(template: str) -> list[str]:
    """What stands in braces and is no placeholder; a brace that stands alone too."""
    unknown = [name for name in _PLACEHOLDER.findall(template) if name not in PLACEHOLDERS]
    left = _PLACEHOLDER.sub("", template)
    return unknown + [brace for brace in left if brace in "{}"]


def filled(template: str, values: Mapping[str, str], language: str, *, exercise: bool = False) -> str:
    """The words of a template with these values. Control characters are left out, runs of spaces become one."""
    said = _PLACEHOLDER.sub(lambda found: values.get(found[1], ""), template)
    said = _SPACES.sub(" ", _CONTROL.sub("", said)).strip()
    return f"{DRILL.get(language, DRILL['en'])} {said}" if exercise else said


def one_line(text: str) -> str:
    """The words on one line, for a title."""
    return " ".join(text.split())


def shortened(text: str, chars_max: int) -> str:
    """At most so many characters, the last one a sign that there were more."""
    return text if len(text) <= chars_max else text[: chars_max - len(MORE)].rstrip() + MORE


def worded(words: Mapping[str, Mapping[str, str]], language: str, word: str) -> str:
    """A word of ours in a language; as it is, with spaces, where there is none."""
    return words.get(language, {}).get(word) or word.replace("_", " ")
