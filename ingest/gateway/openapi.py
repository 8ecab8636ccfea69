"""How is the gateway described to whoever writes a sender?

The schemas are generated from the types that decode and answer, so the description cannot drift from the code.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ingest.decode import media
from ingest.decode.commands import COMMANDS_MAX, Order
from ingest.decode.report import CitizenReport
from ingest.gateway.answer import ACCESS_TITLES, TITLES, TOO_MANY_TITLE, AccessProblem, Problem, Results, TooMany
from ingest.gateway.commands import CommandResults, CommandsProblem
from ingest.gateway.reports import Reported
from schemas.event import SENT_TYPES

_EXAMPLE = {
    "specversion": "1.0",
    "type": "ioc.camera.detection.v1",
    "source": "urn:camera-system:north",
    "id": "north-000001",
    "time": "2025-07-01T08:00:00+07:00",
    "area": "00001",
    "data": {"camera": "cam-17", "kind": "car", "count": 3, "score": 0.91},
}
_ATTRIBUTES = ("specversion", "type", "source", "id", "time", "area")
_REQUIRED = "In binary mode only, and then required."
_MEANINGS = {"area": "In binary mode only. Required where the header ce-place (a `geo:` URI) is not given."}


def describe(*, body_bytes_max: int, batch_events_max: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The path items of what can be posted, and the component schemas that they refer to."""
    events = list(SENT_TYPES.values())
    others = [
        Problem,
        Results,
        Order,
        CommandResults,
        CommandsProblem,
        AccessProblem,
        TooMany,
        CitizenReport,
        Reported,
    ]
    refs, components = msgspec.json.schema_components([*events, *others], ref_template="#/components/schemas/{name}")
    schema = dict(zip([*events, *others], refs, strict=True))
    paths = {
        "/v1/events": {
            "post": _events(
                [schema[one] for one in events],
                schema[Problem],
                schema[Results],
                body_bytes_max=body_bytes_max,
                batch_events_max=batch_events_max,
            )
        },
        "/v1/commands": {"post": _commands(schema)},
        "/v1/reports": {"post": _reports(schema)},
    }
    return paths, dict(components)


def _events(
    events: Sequence[dict[str, Any]],
    problem: dict[str, Any],
    results: dict[str, Any],
    *,
    body_bytes_max: int,
    batch_events_max: int,
) -> dict[str, Any]:
    return {
        "summary": "Take in CloudEvents",
        "operationId": "postEvents",
        "description": (
            "HTTP CloudEvents 1.0, structured, batched or binary. The answer comes when every taken event is on the "
            f"log. At most {body_bytes_max} bytes and {batch_events_max} events a request."
        ),
        "parameters": list(_binary_headers()),
        "requestBody": {
            "required": True,
            "content": {
                media.STRUCTURED: {"schema": {"oneOf": events}, "example": _EXAMPLE},
                media.BATCHED: {
                    "schema": {"type": "array", "items": {"oneOf": events}, "maxItems": batch_events_max},
                    "example": [_EXAMPLE],
                },
                media.BINARY: {"schema": {"type": "object"}, "example": _EXAMPLE["data"]},
            },
        },
        "responses": {
            "202": {
                "description": "At least one event is taken, or the batch is empty; one result for each event.",
                "content": {"application/json": {"schema": results, "example": _RESULTS_EXAMPLE}},
            },
            **{str(status): _problem(status, problem) for status in TITLES},
        },
    }


def _commands(schema: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    order = schema[Order]
    return {
        "summary": "Ask for something about a case, a unit, an alert or a person",
        "operationId": "postCommands",
        "description": (
            f"One command, or a list of at most {COMMANDS_MAX}. The answer comes when every taken command is on the "
            "log; what became of one is read at `GET /v1/commands/{id}`. A command with the same id of the same "
            "person is the same command."
        ),
        "parameters": [
            {
                "name": "Tracking-Secret",
                "in": "header",
                "required": False,
                "description": "The secret of a report, instead of a token: a citizen acts on the own case.",
                "schema": {"type": "string"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [order, {"type": "array", "items": order, "maxItems": COMMANDS_MAX}]},
                    "example": _ORDER_EXAMPLE,
                }
            },
        },
        "responses": {
            "202": {
                "description": "At least one command is on the log, or the list is empty; one result for each.",
                "content": {"application/json": {"schema": schema[CommandResults]}},
            },
            **{str(status): _problem(status, schema[Problem]) for status in (400, 408, 413, 503)},
            "422": _refusal("Every command is refused", schema[CommandsProblem]),
            **{str(status): _refusal(title, schema[AccessProblem]) for status, title in ACCESS_TITLES.items()},
            "429": _too_many(schema[TooMany]),
        },
    }


def _reports(schema: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    return {
        "summary": "Report something, as a citizen",
        "operationId": "postReport",
        "description": "Needs no sign-in and no name. The answer has the secret by which the report is followed.",
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "A random text. The same report with the same key is one report, with one secret.",
                "schema": {"type": "string"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema[CitizenReport], "example": _REPORT_EXAMPLE}},
        },
        "responses": {
            "202": {
                "description": "The report is on the log.",
                "content": {"application/json": {"schema": schema[Reported]}},
            },
            **{str(status): _problem(status, schema[Problem]) for status in (400, 408, 413, 503)},
            "429": _too_many(schema[TooMany]),
        },
    }


_ORDER_EXAMPLE = {
    "id": "7f0c6f0e-1",
    "case": "mfrggzdfmztwq2lk",
    "time": "2025-07-01T14:02:00+07:00",
    "do": {"action": "offer", "offer": 1, "step": "on_scene"},
}
_REPORT_EXAMPLE = {
    "text": "Đèn đường trước số 12 không sáng",
    "category": "lighting",
    "place": "geo:10.7769,106.7009",
    "contact": {"name": "Nguyễn Thị Mai", "phone": "0912 345 678"},
}

_RESULTS_EXAMPLE = {
    "accepted": 1,
    "rejected": 1,
    "results": [
        {"index": 0, "id": "north-000001", "status": "accepted"},
        {
            "index": 1,
            "id": "north-000002",
            "field": "time",
            "reason": "naive_time",
            "detail": "the time has no zone",
            "fix": "Append `Z` or an offset as `+07:00`.",
            "status": "rejected",
        },
    ],
}


def _binary_headers() -> Iterable[dict[str, Any]]:
    for name in _ATTRIBUTES:
        yield {
            "name": f"ce-{name}",
            "in": "header",
            "required": False,
            "description": f"{_MEANINGS.get(name, _REQUIRED)} Percent-encoded UTF-8.",
            "schema": {"type": "string"},
            "example": _EXAMPLE[name],
        }


def _problem(status: int, schema: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": TITLES[status],
        "content": {"application/problem+json": {"schema": schema}},
    }
    if status == 503:
        described["headers"] = {
            "Retry-After": {"description": "Seconds until it is worth trying again.", "schema": {"type": "integer"}}
        }
    return described


def _refusal(title: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": title, "content": {"application/problem+json": {"schema": schema}}}


def _too_many(schema: dict[str, Any]) -> dict[str, Any]:
    wait = {"description": "Seconds until the next is taken.", "schema": {"type": "integer"}}
    return {**_refusal(TOO_MANY_TITLE, schema), "headers": {"Retry-After": wait}}
