"""Who gets which words by which channel, and when?

A notice says whom to tell what. From that, the case as it is, and the site pack follow the letters: one for each
receiver, without addresses. Those are looked up when a letter is sent, so that who has been erased, or has moved on,
is not written to.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from schemas.area_id import AreaCode
from schemas.cap import cap_of_case, cap_xml
from schemas.case import Case, CaseId, Kind, Severity
from schemas.channel import (
    PUSH,
    AnyChannel,
    Copy,
    FolderChannel,
    LoudspeakerChannel,
    MailChannel,
    SmsChannel,
    Template,
    ZaloChannel,
    addresses_of,
)
from schemas.identity import Person, Seen, actor_from, may_see
from schemas.notice import Audience, Why
from schemas.notice_text import CLOCKS, DIGEST_TITLES, NOT_SENT, SEVERITIES, STATES, STEPS, filled, one_line, worded
from schemas.personal import Reporter
from schemas.site import Site
from streams.core.notice import SUBSCRIBERS, Notice, to_agency, to_unit

AT_ONCE = frozenset({Why.OFFERED, Why.WITHDRAWN, Why.MESSAGE, Why.ESCALATED})
"""Nobody who is asked to go somewhere, is on the way, or has to step in, is told tomorrow."""

DIGEST_LEAD_S = 60.0
"""A digest that is due sooner is left to what it holds; a further line waits for the next one."""

CITIZEN = "citizen:"
PERSON = "person:"
CHANNEL = "channel:"
"""Before whom a letter is for: a reporter's pseudonym, a person of `people.toml`, a channel itself."""

_UNIT, _AGENCY = to_unit(""), to_agency("")


class Letter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one receiver is told, as it waits in the outbox. `digest` names the digest that it is the cover of.

    `unit`, `offer`  whose offer it is about: a receipt of it is a receipt of the unit
    `texts`          title and text by language, for what reaches no person
    """

    to: str
    why: Why
    at: datetime
    language: str
    title: str = ""
    text: str = ""
    case: CaseId | None = None
    unit: str | None = None
    offer: int | None = None
    digest: str | None = None
    texts: dict[str, tuple[str, str]] = {}
    area: str | None = None
    cap: str | None = None
    exercise: bool = False


class Posting(NamedTuple):
    """A letter on its way into the outbox. `due_at` is None for one that goes at once.

    `line` is set for what goes into a digest: the letter is then the digest's cover, which is there once.
    """

    id: str
    channel: str
    letter: Letter
    due_at: datetime | None = None
    line: str | None = None


class Unreached(NamedTuple):
    """Somebody who has to be told and cannot: a letter that is given up before it is sent."""

    id: str
    channel: str
    letter: Letter
    reason: str


def subscribers_of(case: Case) -> list[str]:
    """Whoever reported the case, by pseudonym, each once."""
    return list(dict.fromkeys(member.subscriber for member in case.members if member.subscriber is not None))


def letters_of(
    site: Site,
    notice_id: str,
    notice: Notice,
    case: Case,
    reporters: Mapping[str, Reporter],
    said: str,
    now: datetime,
) -> Iterator[Posting | Unreached]:
    """What a notice becomes. `reporters` are the subscribers that can be reached, by pseudonym.

    Nobody is told of a case that they may not see, whoever names them. Everyone is told once.
    """
    told: set[str] = set()
    for to in notice.to:
        if to == SUBSCRIBERS:
            for pseudonym, reporter in reporters.items():
                yield from _to_citizen(site, notice_id, notice, case, pseudonym, reporter, said, now)
            continue
        audience, people = _meant(site, to)
        unit = to.removeprefix(_UNIT) if audience is Audience.UNIT else None
        template = site.channels.template_for(notice.why, audience)
        if template is None:
            continue
        # A unit whose offer is over by now has to be told all the same.
        seen = _seen(case, () if unit is None else (unit,))
        people = [one for one in people if may_see(actor_from(site, one), seen)]
        known = any(one.id in told for one in people)
        people = [one for one in people if one.id not in told]
        told |= {one.id for one in people}
        made: list[Posting] = []
        channel = None
        if unit is None:
            for person in people:
                made += _to_person(site, notice_id, notice, case, person, template, said, now)
        else:
            channel = _channel_of(site, unit, notice)
            if channel == PUSH:
                continue
            for person in people:
                if addresses_of(person.address, site.channels, [channel]):
                    made.append(_posting(site, notice_id, notice, case, person, channel, template, said))
        yield from made
        # Most staff look at the board. Only whoever is sent, or has to step in, is missed.
        if not made and not known and (unit is not None or notice.why is Why.ESCALATED):
            letter = _letter(site, notice, case, to, site.header.languages[0], template, said)
            reason = "nobody has an address" if channel is None else f"nobody has an address for {channel!r}"
            yield Unreached(posting_id(notice_id, to), channel or PUSH, letter, reason)
    yield from _copies(site, notice_id, notice, case)


def posting_id(notice_id: str, to: str) -> str:
    """A letter's name: the same for the same notice and receiver. It can be the name of a file."""
    about = f"{notice_id}\x1f{to}".encode()
    return f"m{hashlib.blake2b(about, digest_size=12).hexdigest()}"


def is_critical(why: Why, case: Case, template: Template) -> bool:
    """Whether it goes at once, whatever quiet hours and digests there are."""
    return template.urgent or why in AT_ONCE or case.severity is Severity.CRITICAL


def quiet_until(now: datetime, zone: ZoneInfo, quiet_from: time | None, quiet_to: time | None) -> datetime | None:
    """When the quiet hours end that hold now; None outside of them. They may go past midnight."""
    if quiet_from is None or quiet_to is None or quiet_from == quiet_to:
        return None
    clock = now.astimezone(zone).time()
    is_quiet = quiet_from <= clock < quiet_to if quiet_from < quiet_to else clock >= quiet_from or clock < quiet_to
    return next_time(now, zone, quiet_to) if is_quiet else None


def next_time(now: datetime, zone: ZoneInfo, at: time) -> datetime:
    """The next moment after now at which the clock there shows this."""
    day = now.astimezone(zone).date()
    for ahead in range(3):
        # Through UTC, so that a time in the gap of a clock change becomes one that exists.
        local = datetime.combine(day + timedelta(days=ahead), at, tzinfo=zone)
        found = datetime.fromtimestamp(local.timestamp(), zone)
        if found > now:
            return found
    raise AssertionError("a clock shows every time within two days")


def not_sent(site: Site, letter: Letter, channel: str, reason: str) -> str:
    """What the case's timeline says of a letter that nobody tries to send any more."""
    language = site.header.languages[0]
    text = NOT_SENT.get(language, NOT_SENT["en"])
    to = letter.to if letter.unit is None else to_unit(letter.unit)
    # A citizen's pseudonym is of no use to whoever reads the timeline.
    to = "citizen" if to.startswith(CITIZEN) else to.removeprefix(PERSON)
    return text.format(why=letter.why.value, to=to, channel=channel, reason=reason)


def digest_letter(letter: Letter, lines: Iterable[str]) -> Letter:
    """A digest's letter, with all of its lines."""
    held = list(lines)
    title = DIGEST_TITLES.get(letter.language, DIGEST_TITLES["en"]).format(count=len(held))
    return Letter(
        to=letter.to,
        why=letter.why,
        at=letter.at,
        language=letter.language,
        title=title,
        text="\n\n".join(held),
        digest=letter.digest,
    )


def _meant(site: Site, to: str) -> tuple[Audience, list[Person]]:
    """Who stands behind a name in a notice."""
    people = site.people.values()
    if to.startswith(_UNIT):
        id_ = to.removeprefix(_UNIT)
        unit = site.units.get(id_)
        members = () if unit is None else unit.members
        return Audience.UNIT, [one for one in people if one.unit == id_ or one.id in members]
    if to.startswith(_AGENCY):
        id_ = to.removeprefix(_AGENCY)
        # Who is in a unit is told as a unit.
        return Audience.AGENCY, [one for one in people if one.agency == id_ and one.unit is None]
    return Audience.PERSON, [one for one in people if one.id == to]


def _channel_of(site: Site, unit: str, notice: Notice) -> str:
    """A unit is told by its first channel, or by the one that an escalation names; the live feed is one of them."""
    declared = site.units.get(unit)
    named = notice.detail.get("channel")
    return str(named) if named is not None else PUSH if declared is None else declared.channels[0]


def _to_person(
    site: Site,
    notice_id: str,
    notice: Notice,
    case: Case,
    person: Person,
    template: Template,
    said: str,
    now: datetime,
) -> Iterator[Posting]:
    channels = addresses_of(person.address, site.channels, template.channels)
    if not channels:
        return
    posting = _posting(site, notice_id, notice, case, person, channels[0], template, said)
    if is_critical(notice.why, case, template):
        yield posting
        return
    zone, letter = ZoneInfo(site.header.zone), posting.letter
    if person.digest:
        due_at = next_time(now + timedelta(seconds=DIGEST_LEAD_S), zone, site.channels.digest_at)
        due_at = quiet_until(due_at, zone, person.quiet_from, person.quiet_to) or due_at
        digest = posting_id(f"digest:{due_at.timestamp():.0f}:{posting.channel}", letter.to)
        cover = Letter(to=letter.to, why=letter.why, at=due_at, language=letter.language, digest=digest)
        line = "\n".join(filter(None, (letter.title, letter.text)))
        yield Posting(digest, posting.channel, cover, due_at, line)
        return
    yield posting._replace(due_at=quiet_until(now, zone, person.quiet_from, person.quiet_to))


def _posting(
    site: Site,
    notice_id: str,
    notice: Notice,
    case: Case,
    person: Person,
    channel: str,
    template: Template,
    said: str,
) -> Posting:
    letter = _letter(site, notice, case, PERSON + person.id, _language(site, person.language), template, said)
    return Posting(posting_id(notice_id, letter.to), channel, letter)


def _to_citizen(
    site: Site,
    notice_id: str,
    notice: Notice,
    case: Case,
    pseudonym: str,
    reporter: Reporter,
    said: str,
    now: datetime,
) -> Iterator[Posting]:
    template = site.channels.template_for(notice.why, Audience.CITIZEN)
    if template is None:
        return
    order = template.channels or [channel.id for channel in site.channels.channel]
    found = next((id_ for id_ in order if citizen_address(site.channels.of(id_), pseudonym, reporter)), None)
    if found is None:
        return
    letter = _letter(site, notice, case, CITIZEN + pseudonym, _language(site, reporter.language), template, said)
    quiet = site.channels.citizens
    due_at = None
    if not is_critical(notice.why, case, template):
        due_at = quiet_until(now, ZoneInfo(site.header.zone), quiet.quiet_from, quiet.quiet_to)
    yield Posting(posting_id(notice_id, letter.to), found, letter, due_at)


def citizen_address(channel: AnyChannel | None, pseudonym: str, reporter: Reporter) -> str | None:
    """Where a citizen is reached by this channel. Files are for demonstrations, and carry the pseudonym."""
    match channel:
        case MailChannel():
            found = reporter.email
        case SmsChannel():
            found = reporter.phone
        case ZaloChannel():
            found = reporter.zalo
        case FolderChannel():
            found = pseudonym if any((reporter.phone, reporter.email, reporter.zalo)) else None
        case _:
            found = None
    return (found or "").strip() or None


def _copies(site: Site, notice_id: str, notice: Notice, case: Case) -> Iterator[Posting]:
    """What other systems and loudspeakers are told."""
    if case.kind is Kind.CONDUCT or case.accused_agency is not None:
        return
    template = site.channels.template_for(notice.why, Audience.CHANNEL)
    if template is None:
        return
    wanted = dict.fromkeys(copy.channel for copy in site.channels.copy if _wants(site, copy, notice, case))
    if not wanted:
        return
    texts = {language: _words(site, notice, case, language, template, "") for language in site.header.languages}
    language = site.header.languages[0]
    title, text = texts[language]
    cap = None
    if site.channels.cap is not None:
        cap = cap_xml(cap_of_case(site, site.channels.cap, case, notice.at, texts))
    for id_ in wanted:
        channel = site.channels.of(id_)
        if isinstance(channel, LoudspeakerChannel) and notice.exercise and not channel.drills:
            continue
        letter = Letter(
            to=CHANNEL + id_,
            why=notice.why,
            at=notice.at,
            language=language,
            title=title,
            text=text,
            case=case.id,
            texts=texts,
            area=case.area,
            cap=cap,
            exercise=notice.exercise,
        )
        yield Posting(posting_id(notice_id, letter.to), id_, letter)


def _wants(site: Site, copy: Copy, notice: Notice, case: Case) -> bool:
    area = None if copy.area is None else site.areas.by_code(site.areas.list_id, AreaCode(copy.area))
    return (
        notice.why in copy.why
        and (not copy.kinds or case.kind in copy.kinds)
        and (not copy.categories or case.category in copy.categories)
        and (not copy.severities or case.severity in copy.severities)
        and (copy.area is None or (area is not None and area.id in case.areas))
    )


def _letter(site: Site, notice: Notice, case: Case, to: str, language: str, template: Template, said: str) -> Letter:
    title, text = _words(site, notice, case, language, template, said, to)
    unit, offer = notice.detail.get("unit"), notice.detail.get("offer")
    if unit is None and notice.why is Why.OFFERED:
        unit = next((one.unit for one in case.offers if one.number == offer), None)
    is_offer = notice.why is Why.OFFERED or (notice.why is Why.ESCALATED and "channel" in notice.detail)
    return Letter(
        to=to,
        why=notice.why,
        at=notice.at,
        language=language,
        title=title,
        text=text,
        case=case.id,
        unit=str(unit) if is_offer and unit is not None else None,
        offer=int(offer) if is_offer and offer is not None else None,
        exercise=notice.exercise,
    )


def _words(
    site: Site, notice: Notice, case: Case, language: str, template: Template, said: str, to: str = ""
) -> tuple[str, str]:
    """Title and text. Who is not a person of ours, nor the reporter, reads the title of published cases alone."""
    values = _values(site, notice, case, language, said)
    if not to:
        shown = one_line(case.title) if case.published else ""
        values |= {"title": shown, "result": "", "reason": "", "said": ""}
    title = template.title.get(language, "")
    return (
        one_line(filled(title, values, language, exercise=notice.exercise)) if title else "",
        filled(template.text[language], values, language, exercise=notice.exercise and not title),
    )


def _values(site: Site, notice: Notice, case: Case, language: str, said: str) -> dict[str, str]:
    category = None if site.cases is None else site.cases.of(case.category)
    agency = None if case.agency is None else site.agencies.get(case.agency)
    area = site.areas.or_root(case.area)
    unit_id = notice.detail.get("unit")
    unit = None if unit_id is None else site.units.get(str(unit_id))
    due_at = _due_at(case)
    kind = (category.names.get(language) if category else None) or case.category
    return {
        "case": case.id,
        # What citizens call it is sealed, and goes into no letter.
        "title": one_line(case.title) or kind,
        "category": kind,
        "severity": worded(SEVERITIES, language, case.severity),
        "state": worded(STATES, language, case.state),
        "area": area.names.get(language) or area.code,
        "agency": (agency.names.get(language) if agency else case.agency) or case.agency or "",
        "unit": (unit.names.get(language) if unit else None) or str(unit_id or ""),
        "due": "" if due_at is None else _shown(site, due_at),
        "at": _shown(site, notice.at),
        "result": case.result or "",
        "reason": str(notice.detail.get("reason") or case.reason or ""),
        "said": said,
        "clock": worded(CLOCKS, language, str(notice.detail.get("clock") or "")),
        "step": worded(STEPS, language, str(notice.detail.get("step") or "")),
        "other": str(notice.detail.get("into") or notice.detail.get("other") or ""),
        "link": "" if site.channels.link is None else site.channels.link.replace("{case}", case.id),
    }


def _due_at(case: Case) -> datetime | None:
    """When the case has to be done: its last clock."""
    return max((clock.due_at for clock in case.clocks if clock.due_at is not None), default=None)


def _shown(site: Site, at: datetime) -> str:
    return f"{at.astimezone(ZoneInfo(site.header.zone)):%H:%M %d/%m/%Y}"


def _language(site: Site, wanted: str | None) -> str:
    return wanted if wanted in site.header.languages else site.header.languages[0]


def _seen(case: Case, units: Iterable[str]) -> Seen:
    return Seen(
        areas=case.areas,
        agency=case.agency,
        accused_agency=case.accused_agency,
        units=(*case.units, *units),
        tracking=case.tracking,
    )
