"""By which ways do messages leave the centre, and what do they say?

`channels.toml` in the site pack. Without it nobody is told anything but by the boards. Secrets are never in the pack:
it names where they are. Every mistake is a SiteError with the line, the reason and the fix.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import time
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from schemas.address import HTTP, is_address, is_folder
from schemas.case import Kind, Severity
from schemas.notice import Audience, Why
from schemas.notice_text import PLACEHOLDERS, unknown_placeholders
from schemas.site_file import check_known, convert_file, mistake_at, numbered, suggestion
from schemas.toml_lines import Path

if TYPE_CHECKING:
    from schemas.site import Site

CHANNELS_FILE = "channels.toml"

PUSH = "push"
"""The live feed that phones and boards listen to: no channel of this file, and always there."""

ChannelId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]

_SECRET = re.compile(r"(?:env:IOC_SECRET_[A-Z0-9_]{1,64}|file:[A-Za-z0-9][A-Za-z0-9._-]{0,63})\Z")
_MAIL = re.compile(r"[^@\s<>,;:\"]{1,64}@[^@\s<>,;:\"]{1,190}\Z")
_MQTT = ("mqtt", "mqtts")
_SMTP = ("smtp", "smtps")
_TOPIC_WILDCARDS = re.compile(r"[+#\x00]")

SMS_CHARS = 459
"""Three parts of 153 characters: what a gateway joins to one message in the plain alphabet."""

ZALO_CHARS = 2000
SPEECH_CHARS = 4000

Address = Annotated[str, Meta(min_length=1, max_length=2000)]
SecretRef = Annotated[str, Meta(max_length=128)]
CharsMax = Annotated[int, Meta(ge=20, le=100_000)]

_wrong = partial(mistake_at, CHANNELS_FILE)


class _Channel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all have. `secret` says where a secret is: `env:IOC_SECRET_…` or `file:…`."""

    id: ChannelId
    secret: SecretRef | None = None
    chars_max: CharsMax = 100_000


class FolderChannel(_Channel, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="folder"):
    """Files below the data folder: for demonstrations, and for systems that fetch files."""

    path: Annotated[str, Meta(min_length=1, max_length=500)]


class MailChannel(_Channel, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="mail"):
    """E-mail by a relay. `address` is `smtp://host:587` (with STARTTLS, but `tls = false`) or `smtps://host:465`."""

    address: Address
    sender: Annotated[str, Meta(max_length=254)]
    name: str = ""
    user: str | None = None
    tls: bool = True


class SmsChannel(_Channel, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="sms"):
    """A gateway that takes a POST of JSON. `receipts`: where it says what has arrived."""

    address: Address
    sender: Annotated[str, Meta(min_length=1, max_length=32)]
    receipts: Address | None = None
    chars_max: CharsMax = SMS_CHARS


class ZaloChannel(_Channel, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="zalo"):
    """Messages of a Zalo official account. The secret is its access token."""

    address: Address = "https://openapi.zalo.me/v3.0/oa/message/cs"
    chars_max: CharsMax = ZALO_CHARS


class MqttChannel(_Channel, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="mqtt"):
    """A broker, `mqtt://host:1883` or `mqtts://host:8883`. In `topic`, `{to}` is the receiver's address."""

    address: Address
    topic: Annotated[str, Meta(min_length=1, max_length=500)]
    user: str | None = None
    receipts: Annotated[str, Meta(min_length=1, max_length=500)] | None = None


class LoudspeakerChannel(_Channel, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="loudspeaker"):
    """Public loudspeakers, by HTTP or (with `topic`) MQTT: text and CAP 1.2, and receipts of what was played.

    `drills`  whether a drill is played too
    """

    address: Address
    topic: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    user: str | None = None
    receipts: Annotated[str, Meta(min_length=1, max_length=2000)] | None = None
    drills: bool = False
    chars_max: CharsMax = SPEECH_CHARS


class WebhookChannel(_Channel, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="webhook"):
    """A POST of JSON to another system, signed with the secret (`schemas.signature`)."""

    address: Address


AnyChannel = (
    FolderChannel | MailChannel | SmsChannel | ZaloChannel | MqttChannel | LoudspeakerChannel | WebhookChannel
)

IMPERSONAL = (WebhookChannel, LoudspeakerChannel)
"""Channels that reach no person: only `[[copy]]` sends by them."""


class Template(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said, about what, to whom. The first that fits holds; where none fits nothing is sent.

    `channels`  by which ways, the first that the receiver has an address for; without: in the order of the file
    `urgent`    goes at once, whatever quiet hours and digests there are
    """

    why: Annotated[list[Why], Meta(min_length=1)]
    to: Annotated[list[Audience], Meta(min_length=1)]
    text: dict[str, Annotated[str, Meta(min_length=1, max_length=4000)]]
    title: dict[str, Annotated[str, Meta(max_length=300)]] = {}
    channels: list[str] = []
    urgent: bool = False


class Copy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What another system, or everybody within earshot, is told. What is left out does not matter.

    Never a complaint about an official, and the title only of a case that is published.
    """

    channel: str
    why: Annotated[list[Why], Meta(min_length=1)]
    kinds: list[Kind] = []
    categories: list[str] = []
    severities: list[Severity] = []
    area: str | None = None


class Citizens(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When citizens are left alone, by the site's clock."""

    quiet_from: time | None = None
    quiet_to: time | None = None


CapCategory = Literal[
    "Geo", "Met", "Safety", "Security", "Rescue", "Fire", "Health", "Env", "Transport", "Infra", "CBRNE", "Other"
]


class CapSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How cases are put into CAP 1.2. `sender` is the centre's name there, `categories` by the case's category."""

    sender: Annotated[str, Meta(pattern=r"^[^\s,<&]{1,200}\Z")]
    categories: dict[str, CapCategory] = {}
    expires_hours: Annotated[int, Meta(ge=1, le=24 * 30)] = 24


class Channels(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `channels.toml`. `link`: an address that leads to a case, with `{case}` in it."""

    channel: list[AnyChannel] = []
    template: list[Template] = []
    copy: list[Copy] = []
    citizens: Citizens = Citizens()
    cap: CapSettings | None = None
    digest_at: time = time(7, 0)
    link: Annotated[str, Meta(pattern=r"^https?://[^\s]*\{case\}[^\s{}]*\Z")] | None = None

    def of(self, id_: str) -> AnyChannel | None:
        """The channel of this id."""
        return next((one for one in self.channel if one.id == id_), None)

    def template_for(self, why: Why, audience: Audience) -> Template | None:
        """What is said to whom about what."""
        return next((one for one in self.template if why in one.why and audience in one.to), None)


def parse_channels(text: str, languages: Sequence[str]) -> Channels:
    """Reads `channels.toml`. Raises SiteError."""
    channels = convert_file(text, Channels, CHANNELS_FILE)
    for number, channel in numbered(channels.channel, CHANNELS_FILE, text, "channel"):
        path: Path = ("channel", number)
        if channel.id == PUSH:
            raise _wrong(text, (*path, "id"), f"{PUSH!r} is the centre's own live feed", "Take another id.")
        _check_channel(text, path, channel)
    for number, template in enumerate(channels.template):
        _check_template(text, ("template", number), template, channels, languages)
    known = [channel.id for channel in channels.channel]
    for number, copy in enumerate(channels.copy):
        path = ("copy", number)
        check_known(copy.channel, known, "channel", CHANNELS_FILE, text, (*path, "channel"))
        for why in copy.why:
            if channels.template_for(why, Audience.CHANNEL) is None:
                fix = f'Add a [[template]] with why = ["{why}"] and to = ["channel"].'
                raise _wrong(text, (*path, "why"), f"nothing says what channels are told of {why.value!r}", fix)
        channel = channels.of(copy.channel)
        if isinstance(channel, MailChannel | SmsChannel | ZaloChannel):
            reason = f"{copy.channel!r} sends to persons, and a copy names none"
            raise _wrong(text, (*path, "channel"), reason, "Name a webhook, mqtt, loudspeaker or folder channel.")
        if isinstance(channel, MqttChannel) and "{to}" in channel.topic:
            reason = f"the topic of {copy.channel!r} names a receiver, and a copy has none"
            raise _wrong(text, (*path, "channel"), reason, "Declare a channel whose topic is without {to}.")
        if isinstance(channel, LoudspeakerChannel) and channels.cap is None:
            raise _wrong(text, (*path, "channel"), "loudspeakers are sent CAP, and there is no [cap]", "Add [cap].")
    if (channels.citizens.quiet_from is None) is not (channels.citizens.quiet_to is None):
        raise _wrong(
            text, ("citizens",), "only one of `quiet_from` and `quiet_to` is given", "Give both, or neither."
        )
    return channels


def check_channels(text: str, site: "Site") -> None:
    """Raises SiteError where channels and the rest of the pack do not fit together."""
    channels = site.channels
    categories = None if site.cases is None else [category.id for category in site.cases.category]
    for number, copy in enumerate(channels.copy):
        for at, category in enumerate(copy.categories):
            path: Path = ("copy", number, "categories", at)
            check_known(category, categories, "category", CHANNELS_FILE, text, path)
        if copy.area is not None and copy.area not in site.areas.present:
            reason, fix = f"area {copy.area!r} is not known", f"Codes are those of the list {site.areas.list_id!r}."
            raise _wrong(text, ("copy", number, "area"), reason, fix)
    if channels.cap is not None:
        for category in channels.cap.categories:
            path = ("cap", "categories", category)
            check_known(category, categories, "category", CHANNELS_FILE, text, path)
    known = [channel.id for channel in channels.channel]
    for person in site.people.values():
        for channel in person.address:
            if channel not in known:
                reason = f"person {person.id!r} has an address for {channel!r}, which is no channel"
                raise _wrong(text, ("channel",), reason, suggestion(channel, known) if known else "Declare it.")
    for unit in site.units.values():
        for channel in unit.channels:
            if channel != PUSH and channel not in known:
                reason = f"unit {unit.id!r} is told by {channel!r}, which is no channel"
                raise _wrong(text, ("channel",), reason, suggestion(channel, [PUSH, *known]))


def _check_channel(text: str, path: Path, channel: AnyChannel) -> None:
    if channel.secret is not None and _SECRET.match(channel.secret) is None:
        # What stands there may be the secret itself, so it is not shown.
        fix = 'Write "env:IOC_SECRET_NAME" or "file:NAME", and put the secret there.'
        raise _wrong(text, (*path, "secret"), "`secret` does not say where the secret is", fix)
    match channel:
        case FolderChannel(path=folder):
            if not is_folder(folder):
                raise _wrong(text, (*path, "path"), "`path` leads out of its folder", "Name a folder, without `..`.")
        case MailChannel():
            _check_address(text, path, channel.address, _SMTP)
            if _MAIL.match(channel.sender) is None:
                fix = "Write one such as ioc@example.vn; `name` is what people read."
                raise _wrong(text, (*path, "sender"), f"`sender` {channel.sender!r} is no e-mail address", fix)
            if (channel.user is None) is not (channel.secret is None):
                raise _wrong(text, path, "only one of `user` and `secret` is given", "Give both, or neither.")
            if channel.user is not None and not channel.tls and channel.address.startswith("smtp:"):
                raise _wrong(text, (*path, "tls"), "the password would be sent readable", "Leave `tls` out.")
        case SmsChannel() | WebhookChannel() | ZaloChannel():
            _check_address(text, path, channel.address, HTTP)
            if isinstance(channel, SmsChannel) and channel.receipts is not None:
                _check_address(text, path, channel.receipts, HTTP, "receipts")
            if not isinstance(channel, SmsChannel) and channel.secret is None:
                raise _wrong(text, path, "`secret` is missing", "Say where the secret is.")
        case MqttChannel():
            _check_address(text, path, channel.address, _MQTT)
            _check_topic(text, path, channel.topic, "topic")
            _check_topic(text, path, channel.receipts, "receipts")
        case LoudspeakerChannel():
            _check_address(text, path, channel.address, (*HTTP, *_MQTT))
            if channel.address.startswith("mqtt"):
                if channel.topic is None:
                    raise _wrong(text, path, "`topic` is missing", "Name the topic that the loudspeakers listen to.")
                _check_topic(text, path, channel.topic, "topic")
                _check_topic(text, path, channel.receipts, "receipts")
            elif channel.receipts is not None:
                _check_address(text, path, channel.receipts, HTTP, "receipts")


def _check_template(text: str, path: Path, template: Template, channels: Channels, languages: Sequence[str]) -> None:
    for language in languages:
        if language not in template.text:
            raise _wrong(text, (*path, "text"), f"the text is missing in the language {language!r}", "Add it.")
        if template.title and language not in template.title:
            raise _wrong(text, (*path, "title"), f"the title is missing in the language {language!r}", "Add it.")
    for key, words in (("text", template.text), ("title", template.title)):
        for language, said in words.items():
            for name in unknown_placeholders(said):
                reason = f"placeholder {{{name}}} is not known"
                raise _wrong(text, (*path, key, language), reason, suggestion(name, PLACEHOLDERS))
    known = [one.id for one in channels.channel]
    for at, id_ in enumerate(template.channels):
        check_known(id_, known, "channel", CHANNELS_FILE, text, (*path, "channels", at))
        if isinstance(channels.of(id_), IMPERSONAL):
            reason = f"{id_!r} reaches no person"
            raise _wrong(text, (*path, "channels", at), reason, "Use [[copy]] for it.")


def _check_address(text: str, path: Path, address: str, schemes: Sequence[str], key: str = "address") -> None:
    if not is_address(address, schemes) or urlsplit(address).username is not None:
        # It may hold a key, so it is not shown.
        fix = f"Write {' or '.join(f'{scheme}://' for scheme in schemes)} with a host, and no user or password in it."
        raise _wrong(text, (*path, key), f"`{key}` is not such an address", fix)


def _check_topic(text: str, path: Path, topic: str | None, key: str) -> None:
    if topic is not None and _TOPIC_WILDCARDS.search(topic):
        raise _wrong(text, (*path, key), f"`{key}` holds a wildcard", "Name one topic.")


def addresses_of(person_address: Mapping[str, str], channels: Channels, wanted: Sequence[str]) -> list[str]:
    """The channels that somebody can be reached by, of those wanted (none: all), the best first."""
    order = wanted or [channel.id for channel in channels.channel]
    return [id_ for id_ in order if id_ in person_address and channels.of(id_) is not None]
