"""What would a change of the site pack mean: what is wrong with it, what is different, and what follows from that?

The mistakes are those that `ioc check` tells and those that keep a running centre from taking the pack up. What
follows is told by a word for programs, with what it is about, and in a sentence.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

from deploy.admin.text_change import Diff, difference
from deploy.site import whole_pack
from deploy.site_folder import check_successor
from schemas.area_table import AREAS_FILE, LINEAGE_FILE
from schemas.errors import SiteError
from schemas.identity import PEOPLE_FILE, Role
from schemas.kpi_table import KPIS_FILE
from schemas.kpi_table import mistakes as kpi_mistakes
from schemas.site import SITE_FILE, Site, mistakes, parse_site

AREAS_SHOWN_MAX = 50
"""Areas that are named one by one; of more only the number is told."""

FIELDS_SHOWN_MAX = 40
"""Fields of one entry whose values are told before and after."""

_LINE = re.compile(r"line (\d+)")

_SHOWN_ONLY = frozenset(
    {"names", "unit", "pillar", "owner", "document", "direction", "thresholds", "target", "freshness_s", "q", "group"}
)
"""Keys of an indicator that change how it is shown or judged, and not what is counted."""


class MistakeView(Struct, frozen=True):
    """A mistake, with its line where it has one."""

    file: str
    line: int | None
    position: str
    reason: str
    fix: str


class FieldChange(Struct, frozen=True):
    """A key of an entry, as `target.0.value`, before and after; None where it is not given."""

    key: str
    before: Any
    after: Any


class EntryChange(Struct, frozen=True, kw_only=True):
    """What becomes of an entry of the pack: of an indicator, a person, a unit."""

    kind: str
    id: str
    names: Mapping[str, str]
    change: Literal["added", "changed", "removed"]
    fields: list[FieldChange] = []


class Effect(Struct, frozen=True):
    """What follows from a change. `needs_care`: whoever applies it has to do something, or loses something."""

    code: str
    about: list[str]
    needs_care: bool
    text: str


class FileDiff(Struct, frozen=True):
    """How a file's text changes."""

    name: str
    change: Literal["added", "changed", "removed"]
    diff: Diff


class Preview(Struct, frozen=True, kw_only=True):
    """What a change would do. With mistakes the rest is as far as it can be told."""

    mistakes: list[MistakeView]
    changes: list[EntryChange]
    effects: list[Effect]
    diffs: list[FileDiff]


class Around(Struct, frozen=True, kw_only=True):
    """What of the running centre decides what a change means.

    `past` are all texts of kpis.toml that were ever in force, as far as they are known; `at_work` the open cases of
    units; `who` applies the change.
    """

    who: str = ""
    past: Collection[str] = ()
    at_work: Mapping[str, int] = {}
    own_issuer: bool = True


def site_of(texts: Mapping[str, str], folder: Path) -> Site:
    """The site that files of these texts make. Raises SiteError."""
    return parse_site(whole_pack(texts, folder))


def judged(
    texts: Mapping[str, str], folder: Path, present: Site | None, around: Around
) -> tuple[Site | None, list[SiteError]]:
    """The site that these files make, and all that keeps it from being taken up after the present one."""
    try:
        pack = whole_pack(texts, folder)
    except SiteError as error:
        # What can be said of the indicators of a pack that cannot be put together.
        return None, [error, *(kpi_mistakes(texts[KPIS_FILE]) if KPIS_FILE in texts else ())]
    try:
        site = parse_site(pack)
    except SiteError:
        return None, mistakes(pack)
    try:
        check_successor(site, present, around.past)
        _check_administrator(site, present)
    except SiteError as error:
        return site, [error]
    return site, []


def preview(
    before: Mapping[str, str], after: Mapping[str, str], folder: Path, present: Site | None, around: Around
) -> Preview:
    """What becomes of the pack, all mistakes included. Blocks for as long as checking a pack takes."""
    site, found = judged(after, folder, present, around)
    changes: list[EntryChange] = []
    effects: list[Effect] = []
    if site is not None and present is not None:
        same_map = all(before.get(name) == after.get(name) for name in (SITE_FILE, AREAS_FILE, LINEAGE_FILE))
        changes = [*entry_changes(present, site, same_map=same_map)]
        effects = [*effects_of(present, site, changes, around)]
    return Preview(
        mistakes=[mistake_view(one) for one in found],
        changes=changes,
        effects=effects,
        diffs=diffs_of({name: (before.get(name), after.get(name)) for name in {*before, *after}}),
    )


def diffs_of(files: Mapping[str, tuple[str | None, str | None]]) -> list[FileDiff]:
    """How the texts of files change, as far as they do; None: there is no such file."""
    return [
        FileDiff(name, _what(old is not None, new is not None), difference(old or "", new or ""))
        for name, (old, new) in sorted(files.items())
        if old != new
    ]


def mistake_view(error: SiteError) -> MistakeView:
    """A mistake as it is answered: the file by its name alone."""
    line = _LINE.search(error.position)
    file = Path(error.file).name
    return MistakeView(file, int(line[1]) if line else None, error.position, error.reason, error.fix)


_ENTRIES: Mapping[str, Callable[[Site], Iterable[Any]]] = {
    "kpi": lambda site: site.kpis.kpis,
    "source": lambda site: site.header.source,
    "unit": lambda site: site.units.values(),
    "person": lambda site: site.people.values(),
    "rule": lambda site: (one.rule for one in site.alerts),
    "agency": lambda site: site.agencies.values(),
    "category": lambda site: () if site.cases is None else site.cases.category,
    "report": lambda site: site.reports,
    "channel": lambda site: site.channels.channel,
    "layer": lambda site: (one.layer for one in site.layers.values()),
}


def entry_changes(before: Site, after: Site, *, same_map: bool = False) -> Iterator[EntryChange]:
    """What is added, changed and removed, kind by kind. `same_map`: the areas need not be compared."""
    for kind, entries in _ENTRIES.items():
        old = {one.id: one for one in entries(before)}
        new = {one.id: one for one in entries(after)}
        for id_ in (*new, *(id_ for id_ in old if id_ not in new)):
            if old.get(id_) != new.get(id_):
                yield _entry_change(kind, id_, old.get(id_), new.get(id_))
    for id_, layer in after.layers.items():
        if id_ in before.layers and before.layers[id_].tag != layer.tag:
            numbers = FieldChange("features", before.layers[id_].features, layer.features)
            yield EntryChange(
                kind="layer_content", id=id_, names=layer.layer.names, change="changed", fields=[numbers]
            )
    if fields := _fields(_plain(before.header, "source"), _plain(after.header, "source")):
        yield EntryChange(kind="site", id=after.header.id, names=after.header.names, change="changed", fields=fields)
    if not same_map:
        yield from _area_changes(before, after)


def effects_of(before: Site, after: Site, changes: Iterable[EntryChange], around: Around) -> Iterator[Effect]:
    """What follows."""
    by: dict[tuple[str, str], list[EntryChange]] = {}
    for one in changes:
        by.setdefault((one.kind, one.change), []).append(one)

    def ids(kind: str, change: str) -> list[str]:
        return [one.id for one in by.get((kind, change), [])]

    def said(code: str, about: list[str], text: str, *, care: bool = True) -> Iterator[Effect]:
        if about:
            yield Effect(code, about, care, text)

    text = "It counts what comes from now on. `ioc backfill` counts what came before, too."
    yield from said("kpi_starts", ids("kpi", "added"), text)
    recounted = [
        one.id
        for one in by.get(("kpi", "changed"), [])
        if any(field.key.partition(".")[0] not in _SHOWN_ONLY for field in one.fields)
    ]
    text = "Earlier figures stay as they were counted. `ioc backfill --again` counts them by the new rule."
    yield from said("kpi_counts_otherwise", recounted, text)
    text = "Nobody sees it any more; what was counted stays stored."
    yield from said("kpi_ends", ids("kpi", "removed"), text)
    shown = [one for one in ids("kpi", "changed") if one not in recounted]
    yield from said("kpi_shown_otherwise", shown, "Only how it is shown and judged; at once.", care=False)
    working = [f"{id_} ({around.at_work[id_]})" for id_ in ids("unit", "removed") if around.at_work.get(id_)]
    yield from said("unit_at_work", working, "It has open cases. Call it back or let it end them first.")
    text = "Whoever is signed in so is let in nowhere within seconds."
    yield from said("person_leaves", ids("person", "removed"), text)
    if around.own_issuer:
        text = "`ioc passwd` sets a password; until then nobody signs in so."
        yield from said("person_needs_password", ids("person", "added"), text)
    me = after.people.get(around.who)
    if around.who in before.people and (me is None or Role.ADMINISTRATOR not in me.roles):
        yield from said("you_lose_this_page", [around.who], "You will not be an administrator any more.")
    yield from said("rule_ends", ids("rule", "removed"), "It looks at nothing any more; its cases stay open.")
    text = "It is not waited for any more, and has no name; what it sends is still counted."
    yield from said("source_undeclared", ids("source", "removed"), text, care=False)
    kept, keeps = before.header.retention, after.header.retention
    if keeps.minute_days < kept.minute_days or keeps.hour_days < kept.hour_days:
        text = "What is older is dropped for good in the next hours; days stay."
        yield Effect("kept_for_less", [f"{keeps.minute_days}/{keeps.hour_days} d"], True, text)
    if by.get(("area", "added")) or by.get(("area", "removed")) or by.get(("areas", "changed")):
        text = "Events are counted where the new list has them; lineage.csv says what became of the old ones."
        yield Effect("areas_change", [after.areas.list_id], True, text)


def _check_administrator(site: Site, present: Site | None) -> None:
    """Raises SiteError where nobody could put the change back by this page."""
    if present is None or not _administrators(present):
        return
    if site.people and not _administrators(site):
        reason = "nobody would have the role 'administrator'"
        raise SiteError(PEOPLE_FILE, "the file", reason, "Let at least one person keep it.")


def _administrators(site: Site) -> list[str]:
    return [id_ for id_, person in site.people.items() if Role.ADMINISTRATOR in person.roles]


def _area_changes(before: Site, after: Site) -> Iterator[EntryChange]:
    old, new = ({str(area.id): area for area in site.areas} for site in (before, after))
    differ = [id_ for id_ in {**old, **new} if old.get(id_) != new.get(id_)]
    if len(differ) > AREAS_SHOWN_MAX:
        counts = FieldChange("areas", len(old), len(new))
        yield EntryChange(kind="areas", id=after.areas.list_id, names={}, change="changed", fields=[counts])
        return
    for id_ in differ:
        yield _entry_change("area", id_, old.get(id_), new.get(id_))


def _entry_change(kind: str, id_: str, old: Any, new: Any) -> EntryChange:  # noqa: ANN401  # any struct of the pack
    one = new if new is not None else old
    names: Mapping[str, str] = getattr(one, "names", None) or {"vi": getattr(one, "name", id_)}
    fields = _fields(_plain(old), _plain(new)) if old is not None and new is not None else []
    return EntryChange(kind=kind, id=id_, names=names, change=_what(old is not None, new is not None), fields=fields)


def _what(was: bool, is_: bool) -> Literal["added", "changed", "removed"]:
    return "changed" if was and is_ else "added" if is_ else "removed"


def _plain(value: Any, *without: str) -> dict[str, Any]:  # noqa: ANN401  # any struct of the pack
    plain = cast("dict[str, Any]", msgspec.to_builtins(value, enc_hook=str))
    return {key: one for key, one in plain.items() if key not in without}


def _fields(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[FieldChange]:
    before, after = dict(_leaves(old)), dict(_leaves(new))
    return [
        FieldChange(key, before.get(key), after.get(key))
        for key in {**before, **after}
        if before.get(key) != after.get(key)
    ][:FIELDS_SHOWN_MAX]


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, one in cast("dict[str, object]", value).items():
            yield from _leaves(one, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and any(isinstance(one, dict | list) for one in cast("list[object]", value)):
        for number, one in enumerate(cast("list[object]", value)):
            yield from _leaves(one, f"{path}.{number}")
    else:
        yield path, value
