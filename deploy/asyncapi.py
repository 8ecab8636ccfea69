"""How is the live protocol described to whoever writes a client?

As an AsyncAPI 3.0 document, made of the types that the messages are read and written by: `ioc asyncapi` prints it.
docs/asyncapi.yaml is that, and a test keeps it so.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, cast, get_args

import msgspec

from dashboard_api.live_messages import LiveMessage, PollAnswer
from dashboard_api.replay import SPEED_MAX, SubscribePast
from dashboard_api.replay_socket import REPLAYS_MAX, ReplayHeartbeat, ReplayStatus
from dashboard_api.subscription import Subscribe, Wish
from ingest.decode.commands import Order
from ingest.gateway.command_socket import Told
from schemas.credential import COMMANDS_PROTOCOL, LIVE_PROTOCOL, PACKED_LIVE_PROTOCOL

_PLAIN_KEY = re.compile(r"[A-Za-z$][\w$/.-]*\Z", re.ASCII)
_NO_PLAIN_KEYS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def document() -> dict[str, Any]:
    """The AsyncAPI document. What the centre sends is `send` there, what it hears is `receive`."""
    told = {_op(one): one for one in get_args(LiveMessage)}
    types = {
        **told,
        "subscribe": Subscribe,
        "wish": Wish,
        "polled": PollAnswer,
        "command": Order,
        "taken": Told,
        "replay": SubscribePast,
        "replayHeartbeat": ReplayHeartbeat,
        "replayStatus": ReplayStatus,
    }
    refs, components = msgspec.json.schema_components(types.values(), ref_template="#/components/schemas/{name}")
    messages = {
        name: {
            "name": name,
            "summary": " ".join((one.__doc__ or "").split("\n\n")[0].split()),
            "payload": ref,
        }
        for (name, one), ref in zip(types.items(), refs, strict=True)
    }
    # A WebSocket closes with a code of its own.
    on_socket = [name for name in told if name != "close"]
    of_replay = ["snapshot", "change", "error", "replayHeartbeat", "replayStatus"]
    channels = {
        "live": _channel(
            "/v1/live",
            f"A WebSocket. With the subprotocol {PACKED_LIVE_PROTOCOL} or `?format=msgpack` frames are MessagePack, "
            f"with {LIVE_PROTOCOL} or none JSON.",
            ["subscribe", *on_socket],
            {"ws": {"query": _object({"format": {"enum": ["json", "msgpack"]}})}},
        ),
        "liveEvents": _channel(
            "/v1/live/events",
            "Server-Sent Events: one message each, with the position as its id. The query says what is wanted; "
            "Last-Event-ID resumes.",
            ["wish", *told],
            {"http": {"query": _object({"subscription": {"type": "string"}})}},
        ),
        "livePoll": _channel(
            "/v1/live/poll",
            "Long polling: each answer holds messages, and what the next request has to bring.",
            ["wish", "polled"],
            {
                "http": {
                    "query": _object(
                        {
                            "subscription": {"type": "string"},
                            "position": {"type": "string"},
                            "session": {"type": "string"},
                            "wait": {"type": "number", "minimum": 0, "maximum": 25},
                            "format": {"enum": ["json", "msgpack"]},
                        }
                    )
                }
            },
        ),
        "replay": _channel(
            "/v1/replay",
            "A WebSocket on which the past goes by, in messages of the live feed. Another `subscribe` begins at "
            f"another moment, or goes on at another speed, up to {SPEED_MAX:.0f}. Of more than {REPLAYS_MAX} in a "
            "process one is closed with 1013.",
            ["replay", *of_replay],
        ),
        "commands": _channel(
            "/v1/commands",
            f"A WebSocket with the subprotocol {COMMANDS_PROTOCOL} on which commands are given: one, or a list of "
            "them, in a message. What is refused as a whole is answered as POST /v1/commands does, with `n`.",
            ["command", "taken"],
        ),
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "IOC live protocol",
            "version": "1",
            "description": "Described in words in live-protocol.md.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {
            "hearSubscription": _operation("receive", "live", ["subscribe"]),
            "tellLive": _operation("send", "live", on_socket),
            "tellEvents": _operation("send", "liveEvents", list(told)),
            "answerPoll": _operation("send", "livePoll", ["polled"]),
            "hearReplay": _operation("receive", "replay", ["replay"]),
            "tellReplay": _operation("send", "replay", of_replay),
            "takeCommand": {
                **_operation("receive", "commands", ["command"]),
                "reply": {
                    "channel": {"$ref": "#/channels/commands"},
                    "messages": [{"$ref": "#/channels/commands/messages/taken"}],
                },
            },
        },
        "components": {"messages": messages, "schemas": components},
    }


def text() -> str:
    """The document in YAML."""
    return "\n".join(["# Made by `ioc asyncapi`.", *_lines(document()), ""])


def _op(one: type) -> str:
    tag = msgspec.inspect.type_info(one)
    assert isinstance(tag, msgspec.inspect.StructType)
    return str(tag.tag)


def _channel(
    address: str, description: str, messages: list[str], bindings: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        **({} if bindings is None else {"bindings": bindings}),
    }


def _operation(action: str, channel: str, messages: list[str]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _lines(value: dict[str, Any], indent: str = "") -> Iterator[str]:
    """A mapping in YAML. Scalars are written as JSON has them, which YAML 1.2 reads alike."""
    for name, one in value.items():
        key = name if _PLAIN_KEY.match(name) and name.lower() not in _NO_PLAIN_KEYS else json.dumps(name)
        if isinstance(one, dict) and one:
            yield f"{indent}{key}:"
            yield from _lines(cast("dict[str, Any]", one), indent + "  ")
        elif isinstance(one, list) and any(isinstance(item, dict) for item in cast("list[object]", one)):
            yield f"{indent}{key}:"
            for item in cast("list[object]", one):
                yield from _item(item, indent)
        else:
            yield f"{indent}{key}: {_scalar(cast('object', one))}"


def _item(item: object, indent: str) -> Iterator[str]:
    if not isinstance(item, dict) or not item:
        yield f"{indent}- {_scalar(cast('object', item))}"
        return
    first, *others = _lines(cast("dict[str, Any]", item), indent + "  ")
    yield f"{indent}- {first.lstrip()}"
    yield from others


def _scalar(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
