"""How is the gateway described to whoever writes a sender?

The schemas are generated from the types that decode and answer, so the description cannot drift from the code.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from ingest.decode import media
from ingest.gateway.answer import TITLES, Problem, Results
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


def describe_events(*, body_bytes_max: int, batch_events_max: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The path item of `/v1/events`, and the component schemas that it refers to."""
    types = list(SENT_TYPES.values())
    refs, components = msgspec.json.schema_components(
        [*types, Problem, Results], ref_template="#/components/schemas/{name}"
    )
    events, (problem, results) = list(refs[: len(types)]), refs[len(types) :]
    operation = {
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
    return {"post": operation}, dict(components)


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
