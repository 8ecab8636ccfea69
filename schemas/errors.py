"""What can go wrong, and whose fault is it?

IocError
├── InvalidEvent            their fault: refused at the door, or dead-lettered when found on the log
│   └── InvalidBody         a request body that cannot be taken apart into events
├── AccessRefused           theirs: who asks is not proved (401), or may not do this (403)
├── SiteError               the site pack's fault: file, position, reason and fix
├── DependencyUnavailable   nobody's fault: bounded wait, 503 or retry, recovery by itself
├── OperatorError           whoever runs the centre can mend it: one line with the remedy
└── BrokenInvariant         our fault, or the log was tampered with: stop and alarm
    ├── PositionGap         the log starts beyond what was counted (retention loss)
    ├── LogTruncated        the log ends below what was counted
    ├── TopicReplaced       the topic was deleted and made anew
    └── BatchRefused        the database refuses a batch for what is in it: trying again is of no use
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why an event or a record was refused. Used as it is in answers, dead letters and metric labels."""

    MALFORMED_JSON = "malformed_json"
    INVALID_UTF8 = "invalid_utf8"
    NESTED_TOO_DEEP = "nested_too_deep"
    NUL_CHARACTER = "nul_character"
    TOO_LARGE = "too_large"
    MISSING_FIELD = "missing_field"
    INVALID_FIELD = "invalid_field"
    NAIVE_TIME = "naive_time"
    UNKNOWN_TYPE = "unknown_type"
    WRONG_TOPIC = "wrong_topic"
    UNKNOWN_AREA = "unknown_area"
    WRONG_AREA_LIST = "wrong_area_list"
    UNKNOWN_PLACE = "unknown_place"
    FUTURE_TIME = "future_time"
    NOT_CORRECTABLE = "not_correctable"
    INTERNAL_TYPE = "internal_type"
    RESERVED_SOURCE = "reserved_source"
    NOT_SEALED = "not_sealed"
    NO_KEYS = "no_keys"
    NOT_ALLOWED = "not_allowed"
    UNSUPPORTED_MEDIA = "unsupported_media"
    SLOW_BODY = "slow_body"


class AccessReason(StrEnum):
    """Why somebody is not let in. Used as it is in answers and metric labels."""

    NOT_SIGNED_IN = "not_signed_in"
    MALFORMED = "malformed_token"
    ALGORITHM = "token_algorithm"
    UNKNOWN_KEY = "unknown_key"
    SIGNATURE = "bad_signature"
    EXPIRED = "token_expired"
    NOT_YET = "token_not_yet"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    UNKNOWN_PERSON = "unknown_person"
    UNKNOWN_DISPLAY = "unknown_display"
    CROSS_SITE = "cross_site"
    NOT_ALLOWED = "not_allowed"


class IocError(Exception):
    """The root of everything this project raises on purpose."""


class InvalidEvent(IocError):
    """An event that cannot be taken: refused at the door, dead-lettered when it is found on the log.

    `field` is a JSON path from the event's root (`time`, `data.value`, or `$` for the whole), `reason` a
    machine-readable word, `detail` and `fix` sentences for whoever sends.
    """

    def __init__(self, field: str, reason: Reason, detail: str, fix: str) -> None:
        super().__init__(f"{field}: {detail} ({reason}). {fix}")
        self.field = field
        self.reason = reason
        self.detail = detail
        self.fix = fix


class InvalidBody(InvalidEvent):
    """A request body that cannot be taken apart into events: nothing of it is taken."""


class AccessRefused(IocError):
    """Somebody is not let in: `status` is 401 while it is not known who asks, 403 when that one may not."""

    def __init__(self, reason: AccessReason, detail: str, fix: str) -> None:
        super().__init__(f"{detail} ({reason}). {fix}")
        self.reason = reason
        self.detail = detail
        self.fix = fix
        known = {AccessReason.UNKNOWN_PERSON, AccessReason.CROSS_SITE, AccessReason.NOT_ALLOWED}
        self.status = 403 if reason in known else 401


class SiteError(IocError):
    """A mistake in the site pack. `position` is a line, a row or a key within `file`."""

    def __init__(self, file: str, position: str, reason: str, fix: str) -> None:
        super().__init__(f"{file}: {position}: {reason}. {fix}")
        self.file = file
        self.position = position
        self.reason = reason
        self.fix = fix


class DependencyUnavailable(IocError):
    """Kafka or the database does not answer. The caller may try again after `retry_after_s` seconds."""

    def __init__(self, dependency: str, detail: str, retry_after_s: int = 2) -> None:
        super().__init__(f"{dependency} is away: {detail}")
        self.dependency = dependency
        self.retry_after_s = retry_after_s


class OperatorError(IocError):
    """A foreseeable problem: `what` is wrong, and the `remedy`. Shown in one line, without a traceback."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} {remedy}" if remedy else what)
        self.what = what
        self.remedy = remedy


class BrokenInvariant(IocError):
    """Going on would lose or double-count. The process stops and says why."""


class PositionGap(BrokenInvariant):
    """The first record that can be read lies beyond the stored position: retention took what was not counted."""


class LogTruncated(BrokenInvariant):
    """The log ends below the stored position: records that were counted are no longer there."""


class TopicReplaced(BrokenInvariant):
    """The topic's id differs from the one stored with the position: it was deleted and made anew."""


class BatchRefused(BrokenInvariant):
    """The database refuses a batch for what is in it: decoding let something pass that no table can hold."""
