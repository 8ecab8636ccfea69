"""How does my report stand? For whoever holds its tracking secret, in plain words.

The secret itself is nowhere: cases keep its hash. It opens the reporter's own case, and of one that this was merged
into how it stands. What others wrote who follow the same case stays theirs.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec
from msgspec import Struct

from dashboard_api.case_view import NextAction, NextActions, Words, names_of
from dashboard_api.commands import source_of
from dashboard_api.database import Reader
from dashboard_api.plain_words import Stage, stage_of, words_of
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.statements import load_statements
from dashboard_api.written import read_own
from schemas.case import Case, CaseId, ClockName, Entry, State
from schemas.identity import SECRET_CHARS_MAX, citizen, tracking_of
from schemas.personal import KeyRing
from schemas.site import Site

TRACKED_MAX = 20
"""So many cases of one secret are looked at; more than two mean nothing."""

FOLLOWED_MAX = 20
"""So many mergers are followed; a longer chain ends there."""

LINES_MAX = 200
"""So many lines are shown, the newest."""

_SQL = load_statements("track")
_cases = msgspec.json.Decoder(Case)
_entries = msgspec.json.Decoder(Entry)


class TrackLine(Struct, frozen=True, kw_only=True):
    """Something that happened. `at` is when it was so."""

    at: datetime
    action: str
    text: str


class TrackView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a report stands. `words` say it in the site's languages; `expected_at` is when it will be dealt with.

    `may` are the commands that the citizen may send about `case` now, `reason` is why it was refused.
    `exercise`: it is a drill's, and so are the commands about it.
    """

    case: CaseId
    stage: Stage
    words: dict[str, str]
    names: dict[str, str]
    title: str
    opened_at: datetime
    changed_at: datetime
    position: str
    as_of: datetime
    agency: dict[str, str] = {}
    expected_at: datetime | None = None
    overdue: bool = False
    result: str | None = None
    reason: str | None = None
    rating: int | None = None
    timeline: list[TrackLine] = []
    may: list[NextAction] = []
    exercise: bool = False


def tracking_hash(secret: str) -> str:
    """What cases keep of a secret. Raises Refused for one that cannot be any."""
    if not secret or len(secret) > SECRET_CHARS_MAX:
        fix = "Send the secret that you were given with the report in the header `Tracking-Secret`."
        raise Refused("Tracking-Secret", RefusalReason.MISSING, "there is no tracking secret", fix)
    return tracking_of(secret.encode("latin-1", "replace"))


async def read_track(
    reader: Reader,
    site: Site,
    tracking: str,
    ring: KeyRing | None,
    next_actions: NextActions,
    position: str,
    as_of: datetime,
) -> TrackView:
    """Where the report stands that this hash belongs to. Raises Refused where there is none.

    `ring` opens what the citizen wrote.
    """
    found = [_cases.decode(row["body"]) for row in await reader.fetch(_SQL["read_tracked"], tracking, TRACKED_MAX)]
    if not found:
        fix = "Look whether all of it was copied. A report that came in just now may take a moment."
        detail = "no report has this secret"
        raise Refused("Tracking-Secret", RefusalReason.UNKNOWN_SECRET, detail, fix, status=404)
    # What was merged holds the secret of what it was merged from; the reporter's own is the one that went into it.
    own = next((one for one in found if one.merged_into is not None), found[0])
    whole = await _followed(reader, own)
    is_open_to = tracking in whole.tracking
    rows = await reader.fetch(
        _SQL["read_public_entries"], list({own.id, whole.id} if is_open_to else {own.id}), LINES_MAX
    )
    entries = [_entries.decode(row["body"]) for row in rows]
    members = [member for member in own.members if member.tracking == tracking]
    own_source = source_of(citizen(tracking))
    said = [entry.sealed for entry in entries if entry.sealed is not None and entry.sealed[0] == own_source]
    written = await read_own(reader, ring, members, said)
    titles = (words.title for member in members if (words := written.get((member.source, member.id))) is not None)
    shown = whole if is_open_to else own
    stage = stage_of(shown.state)
    agency = site.agencies.get(shown.agency or "")
    expected_at = expected(shown)
    return TrackView(
        case=own.id,
        stage=stage,
        words=words_of(stage, site.header.languages),
        names=names_of(site, own.category),
        title=own.title or next(filter(None, titles), ""),
        opened_at=own.opened_at,
        changed_at=shown.changed_at,
        position=position,
        as_of=as_of,
        agency={} if agency is None else agency.names,
        expected_at=expected_at,
        overdue=expected_at is not None and expected_at < as_of,
        result=shown.result,
        reason=shown.reason if shown.state is State.REJECTED else None,
        rating=shown.rating,
        timeline=[_line(entry, written) for entry in entries],
        may=list(next_actions(site, whole, citizen(tracking))) if is_open_to else [],
        exercise=own.exercise,
    )


def expected(case: Case) -> datetime | None:
    """When the running clock for the whole of it ends, or else the next one; None while it is paused or done."""
    due = {clock.name: clock.due_at for clock in case.clocks}
    return due.get(ClockName.RESOLUTION) or case.due_at


async def _followed(reader: Reader, case: Case) -> Case:
    """What a case has become part of; itself where it was not merged."""
    for _ in range(FOLLOWED_MAX):
        if case.merged_into is None:
            break
        body = await reader.fetchval(_SQL["read_merged"], case.merged_into)
        if body is None:
            break
        case = _cases.decode(body)
    return case


def _line(entry: Entry, written: Mapping[tuple[str, str], Words]) -> TrackLine:
    words = None if entry.sealed is None else written.get(entry.sealed)
    text = entry.text or (None if words is None else words.text) or ""
    return TrackLine(at=entry.at, action=entry.action, text=text)
