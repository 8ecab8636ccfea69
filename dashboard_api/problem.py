"""How does an error look to whoever asked?

As RFC 9457 `application/problem+json`, with the field, a machine-readable reason and the fix.
"""

from http import HTTPStatus
from typing import Any, cast

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dashboard_api.refusal import RefusalReason, Refused
from schemas.errors import AccessRefused, DependencyUnavailable

CONTENT_TYPE = "application/problem+json"


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457 §3.1 with three members of our own: `field`, `reason` and `fix`."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    reason: str | None = None
    fix: str | None = None


def answer_problems(app: FastAPI) -> None:
    """Makes every error of this app a problem document."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(AccessRefused, _not_let_in)
    app.add_exception_handler(DependencyUnavailable, _unavailable)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _broken)


def _reply(
    status: int,
    detail: str,
    *,
    field: str | None = None,
    reason: str | None = None,
    fix: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    problem = Problem(
        type=f"urn:ioc:problem:{reason}" if reason else "about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        field=field,
        reason=reason,
        fix=fix,
    )
    return Response(msgspec.json.encode(problem), status, headers, CONTENT_TYPE)


async def _refused(_: Request, error: Exception) -> Response:
    refused = cast("Refused", error)
    return _reply(refused.status, refused.detail, field=refused.field, reason=refused.reason.value, fix=refused.fix)


async def _not_let_in(_: Request, error: Exception) -> Response:
    refused = cast("AccessRefused", error)
    return _reply(
        refused.status,
        refused.detail,
        field="Authorization",
        reason=refused.reason.value,
        fix=refused.fix,
        headers={"WWW-Authenticate": "Bearer"} if refused.status == 401 else None,
    )


async def _unavailable(_: Request, error: Exception) -> Response:
    away = cast("DependencyUnavailable", error)
    return _reply(
        503,
        str(away),
        reason="database_away",
        fix=f"Try again in {away.retry_after_s} s.",
        headers={"Retry-After": str(away.retry_after_s)},
    )


async def _invalid(_: Request, error: Exception) -> Response:
    first = cast("dict[str, Any]", cast("RequestValidationError", error).errors()[0])
    kind, field = str(first["type"]), ".".join(str(part) for part in first["loc"][1:]) or "$"
    detail = str(first["msg"])
    match kind:
        case "missing":
            reason, fix = RefusalReason.MISSING, f"Add `{field}`."
        case "extra_forbidden":
            reason, fix = RefusalReason.UNKNOWN_FIELD, "Leave it out, or see GET /v1/openapi/dashboard.json."
        case "timezone_aware":
            reason, fix = (
                RefusalReason.NAIVE_TIME,
                "Append `Z` or an offset as `+07:00` (as `%2B07:00` in an address).",
            )
        case _:
            reason, fix = RefusalReason.INVALID, f"Correct `{field}`."
    return _reply(422, detail, field=field, reason=reason.value, fix=fix)


async def _http(_: Request, error: Exception) -> Response:
    known = cast("HTTPException", error)
    return _reply(known.status_code, str(known.detail), headers=dict(known.headers or {}))


async def _broken(_: Request, __: Exception) -> Response:
    return _reply(500, "The dashboard failed; its log says why.", reason="internal")
