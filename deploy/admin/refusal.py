"""Why does the administrator's page not do what was asked?"""

from enum import StrEnum

from schemas.errors import IocError, SiteError


class AdminReason(StrEnum):
    """Used as it is in answers."""

    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    UNKNOWN_FILE = "unknown_file"
    UNKNOWN_ENTRY = "unknown_entry"
    UNKNOWN_CHANGE = "unknown_change"
    NO_REASON = "no_reason"
    NO_CHANGE = "no_change"
    STALE = "stale"
    MISTAKES = "mistakes"
    READ_ONLY = "read_only"
    BUSY = "busy"
    OVERLAPS = "overlaps"
    AS_TEXT = "as_text"
    NO_PEOPLE = "no_people"
    BROKEN_HISTORY = "broken_history"
    NOT_POSSIBLE = "not_possible"
    NOT_WRITTEN_DOWN = "not_written_down"


class AdminRefused(IocError):
    """A request that is not done. `mistakes` are those of the pack that it would make."""

    def __init__(
        self,
        field: str,
        reason: AdminReason,
        detail: str,
        fix: str,
        *,
        status: int = 422,
        mistakes: tuple[SiteError, ...] = (),
    ) -> None:
        super().__init__(f"{field}: {detail} ({reason}). {fix}")
        self.field = field
        self.reason = reason
        self.detail = detail
        self.fix = fix
        self.status = status
        self.mistakes = mistakes
