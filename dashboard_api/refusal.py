"""What is wrong with a request, and how is it mended?"""

from enum import StrEnum

from schemas.errors import IocError


class RefusalReason(StrEnum):
    """Why a request was refused. Used as it is in answers."""

    MALFORMED = "malformed"
    MISSING = "missing"
    UNKNOWN_FIELD = "unknown_field"
    INVALID = "invalid"
    NAIVE_TIME = "naive_time"
    OUT_OF_RANGE = "out_of_range"
    TOO_MANY = "too_many"
    TOO_LARGE = "too_large"
    UNKNOWN_KPI = "unknown_kpi"
    UNKNOWN_AREA = "unknown_area"
    NOT_KEPT = "not_kept"
    UNKNOWN_CASE = "unknown_case"
    UNKNOWN_SECRET = "unknown_secret"  # noqa: S105 - a reason, not a secret
    NOT_SIGNED_IN = "not_signed_in"
    NOT_REVEALED = "not_revealed"


class Refused(IocError):
    """A request that cannot be answered as it is. `field` names the parameter or the JSON path, `$` the whole."""

    def __init__(self, field: str, reason: RefusalReason, detail: str, fix: str, *, status: int = 422) -> None:
        super().__init__(f"{field}: {detail} ({reason}). {fix}")
        self.field = field
        self.reason = reason
        self.detail = detail
        self.fix = fix
        self.status = status
