"""How is one entry of a TOML file changed, so that everything else in it stays letter by letter?

An entry is a table of an array of tables: an indicator, a unit, a person. Its own lines are taken out, changed with
its comments and its order kept, and put back. What comes out is read again, and has to say what was asked for.
"""

import copy
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, time
from typing import Any, cast

import tomlkit
from msgspec import Struct
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT

from deploy.admin.refusal import AdminReason, AdminRefused
from deploy.admin.text_change import taken_back
from schemas.agency import AGENCIES_FILE
from schemas.alert import ALERTS_FILE
from schemas.errors import SiteError
from schemas.identity import PEOPLE_FILE
from schemas.kpi_table import KPIS_FILE
from schemas.layer import LAYERS_FILE
from schemas.site import SITE_FILE
from schemas.site_file import read_toml
from schemas.toml_lines import toml_lines
from schemas.unit import UNITS_FILE

TABLES: Mapping[str, str] = {
    KPIS_FILE: "kpi",
    UNITS_FILE: "unit",
    PEOPLE_FILE: "person",
    SITE_FILE: "source",
    ALERTS_FILE: "rule",
    LAYERS_FILE: "layer",
    AGENCIES_FILE: "agency",
}
"""The files whose entries have a form, and the array of tables that they stand in."""

EDITS_MAX = 200
"""Changes of one entry at once; more are refused."""

_TIMES = frozenset({"quiet_from", "quiet_to"})
_DAYS = frozenset({"start", "end"})

Path = Sequence[str | int]


class Entry(Struct, frozen=True):
    """An entry, the line that it begins on, and what it says; days and times are texts."""

    id: str
    line: int
    value: dict[str, Any]


class Edit(Struct, frozen=True):
    """What stands at `path` of an entry from now on; None takes it away. A number one past a list's last adds."""

    path: list[str | int]
    value: Any = None


def entries(file: str, text: str) -> list[Entry]:
    """The entries of a file in its order. Raises SiteError, AdminRefused."""
    table = _table_of(file)
    found = _array(read_toml(text, file), table)
    lines = toml_lines(text)
    return [
        Entry(str(one.get("id", "")), lines.get((table, at), 1), cast("dict[str, Any]", _shown(one)))
        for at, one in enumerate(found)
    ]


def edited(file: str, text: str, id_: str | None, edits: Sequence[Edit]) -> str:
    """The text with an entry changed, or with a new one at the end where `id_` is None. Raises AdminRefused."""
    table = _table_of(file)
    if not 0 < len(edits) <= EDITS_MAX:
        raise _refused("edits", f"there are {len(edits)} edits", f"Send 1 to {EDITS_MAX}.")
    before = _array(_read(file, text), table)
    wanted = copy.deepcopy(before)
    if id_ is None:
        wanted.append({})
        for edit in edits:
            _put(wanted[-1], edit)
        result = _appended(text, table, wanted[-1])
    else:
        at = _place(before, id_, table)
        for edit in edits:
            _put(wanted[at], edit)
        begin, end = _span(text, table, at)
        lines = text.splitlines(keepends=True)
        chunk = "".join(lines[begin:end])
        try:
            document = tomlkit.parse(chunk)
            unchanged = tomlkit.dumps(document)
            entry = cast("AoT", document[table])[0]
            for edit in edits:
                _put(entry, edit)
            changed = tomlkit.dumps(document)
        except (TOMLKitError, KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise _as_text(file, id_, str(error)) from error
        if unchanged != chunk:
            # The library drops a space here and there; only what was asked for is taken over from it.
            changed = taken_back(changed, unchanged, chunk) or changed
        if not changed.endswith("\n") and chunk.endswith("\n"):
            changed += "\n"
        result = "".join([*lines[:begin], changed, *lines[end:]])
    _check_result(file, text, result, table, wanted)
    return result


def removed(file: str, text: str, id_: str) -> str:
    """The text without an entry and the comment right above it. Raises AdminRefused."""
    table = _table_of(file)
    before = _array(_read(file, text), table)
    at = _place(before, id_, table)
    begin, end = _span(text, table, at)
    lines = text.splitlines(keepends=True)
    while begin > 0 and lines[begin - 1].lstrip().startswith("#"):
        begin -= 1
    while begin > 0 and end < len(lines) and not lines[end].strip() and not lines[begin - 1].strip():
        end += 1
    result = "".join([*lines[:begin], *lines[end:]])
    _check_result(file, text, result, table, [*before[:at], *before[at + 1 :]])
    return result


def _table_of(file: str) -> str:
    if file not in TABLES:
        detail, fix = f"{file[:100]!r} has no entries with a form", f"Use one of: {', '.join(TABLES)}."
        raise AdminRefused("file", AdminReason.UNKNOWN_FILE, detail, fix)
    return TABLES[file]


def _read(file: str, text: str) -> dict[str, Any]:
    try:
        return read_toml(text, file)
    except SiteError as error:
        detail, fix = f"{error.position}: {error.reason}", "Correct the file's text first."
        raise AdminRefused("text", AdminReason.MISTAKES, detail, fix, mistakes=(error,)) from None


def _array(tables: Mapping[str, Any], table: str) -> list[dict[str, Any]]:
    found: object = tables.get(table, [])
    if not isinstance(found, list):
        return []
    return [cast("dict[str, Any]", one) for one in cast("list[object]", found) if isinstance(one, dict)]


def _place(found: Sequence[Mapping[str, Any]], id_: str, table: str) -> int:
    places = [at for at, one in enumerate(found) if one.get("id") == id_]
    if len(places) != 1:
        detail = f"there is no {table} {id_!r}" if not places else f"there are {len(places)} of the id {id_!r}"
        fix = "Read the file again." if not places else "Correct the file's text first."
        raise AdminRefused("id", AdminReason.UNKNOWN_ENTRY, detail, fix, status=404)
    return places[0]


def _span(text: str, table: str, at: int) -> tuple[int, int]:
    """The lines [begin, end) of an entry, without the comments that belong to what follows."""
    found = toml_lines(text)
    lines = text.splitlines()
    begin = found[table, at]
    if not re.match(rf"\s*\[\[\s*{table}\s*\]\]", lines[begin - 1]):
        raise _as_text(table, str(at), "it does not begin with its own header")
    later = [line for path, line in found.items() if path[:2] != (table, at) and line > begin]
    end = min(later, default=len(lines) + 1)
    while end - 1 > begin and (not lines[end - 2].strip() or lines[end - 2].lstrip().startswith("#")):
        end -= 1
    return begin - 1, end - 1


def _put(entry: Any, edit: Edit) -> None:  # noqa: ANN401  # a table of tomlkit, or a dict
    """Makes one change; tables on the way are made where they are missing. Raises AdminRefused."""
    if not edit.path:
        raise _refused("edits", "an edit has no path", 'Name the key, as ["names", "vi"].')
    at = entry
    for step in edit.path[:-1]:
        if isinstance(step, str) and isinstance(at, dict) and step not in at:
            cast("Any", at)[step] = {} if _is_plain(cast("Any", at)) else tomlkit.inline_table()
        at = _step(cast("Any", at), step)
    last = edit.path[-1]
    value = _typed(edit.value, next((step for step in reversed(edit.path) if isinstance(step, str)), ""))
    if isinstance(last, int):
        _put_into_list(at, last, value)
    elif not isinstance(at, dict):
        raise _refused("edits", f"{edit.path} leads nowhere", "Name keys of tables, and numbers in lists.")
    elif value is not None:
        table = cast("Any", at)
        table[last] = value if _is_plain(table) else _item(value)
    elif last in at:
        del cast("Any", at)[last]
    if value is None:
        _drop_empty(entry, edit.path[:-1])


def _put_into_list(at: Any, place: int, value: Any) -> None:  # noqa: ANN401  # as above
    length = len(at) if isinstance(at, list) else -1  # pyright: ignore[reportUnknownArgumentType]
    if not 0 <= place <= length:
        raise _refused("edits", f"there is no list with a place {place} there", "Read the entry again.")
    if value is None:
        if place < length:
            del at[place]
    elif place < length:
        at[place] = value if _is_plain(at) else _item(value)
    elif isinstance(at, AoT):
        table: Any = tomlkit.table()
        table.update(value)
        cast("Any", at).append(table)
    else:
        cast("Any", at).append(value if _is_plain(at) else _item(value))


def _drop_empty(entry: Any, path: Path) -> None:  # noqa: ANN401  # as above
    """A list or table that an edit has emptied goes, too: an empty one often means something else."""
    above = entry
    for step in path[:-1]:
        above = _step(above, step)
    if path and len(_step(above, path[-1])) == 0:
        del above[path[-1]]


def _is_plain(container: Any) -> bool:  # noqa: ANN401  # as above
    """Whether it is Python's own, and not TOML's with its comments."""
    return type(container) in (dict, list)


def _step(at: Any, step: str | int) -> Any:  # noqa: ANN401  # as above
    try:
        if isinstance(step, int) and (not isinstance(at, list) or step < 0):
            raise KeyError(step)
        return cast("Any", at)[step]
    except (KeyError, IndexError, TypeError):
        raise _refused("edits", f"there is no {step!r} there", "Read the entry again.") from None


def _item(value: Any) -> Any:  # noqa: ANN401  # whatever JSON holds
    """A value as TOML: tables within a line, as site packs write them."""
    if isinstance(value, dict):
        table: Any = tomlkit.inline_table()
        for key, one in cast("dict[str, Any]", value).items():
            table[key] = _item(one)
        return table
    if isinstance(value, list):
        array: Any = tomlkit.array()
        array.extend([_item(one) for one in cast("list[Any]", value)])
        return array
    return cast("Any", tomlkit.item(value))


def _typed(value: Any, key: str) -> Any:  # noqa: ANN401  # whatever JSON holds
    """A value with days and times as TOML has them, and without what is not given."""
    if isinstance(value, dict):
        given = cast("dict[str, Any]", value)
        return {name: _typed(one, name) for name, one in given.items() if one is not None}
    if isinstance(value, list):
        return [_typed(one, key) for one in cast("list[Any]", value)]
    if isinstance(value, str) and key in _TIMES | _DAYS:
        try:
            return time.fromisoformat(value) if key in _TIMES else date.fromisoformat(value)
        except ValueError:
            return value  # what is wrong with it is told with its line when the pack is checked
    return value


def _shown(value: object) -> object:
    if isinstance(value, dict):
        return {key: _shown(one) for key, one in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_shown(one) for one in cast("list[object]", value)]
    return value.isoformat() if isinstance(value, date | time) else value


def _appended(text: str, table: str, entry: Mapping[str, Any]) -> str:
    document = tomlkit.document()
    array: Any = tomlkit.aot()
    one: Any = tomlkit.table()
    for key, value in entry.items():
        one[key] = _item(value)
    array.append(one)
    document[table] = array
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    return text + gap + tomlkit.dumps(document).rstrip("\n") + "\n"


def _check_result(file: str, before: str, after: str, table: str, wanted: Sequence[Mapping[str, Any]]) -> None:
    """Raises AdminRefused unless the text says what was asked for, and else what it said before."""
    try:
        result = tomllib.loads(after)
    except tomllib.TOMLDecodeError as error:
        raise _as_text(file, table, str(error)) from error
    rest = {key: value for key, value in tomllib.loads(before).items() if key != table}
    if {key: value for key, value in result.items() if key != table} != rest or _array(result, table) != list(wanted):
        raise _as_text(file, table, "the file is written in a way that no form can change")


def _as_text(file: str, what: str, reason: str) -> AdminRefused:
    return AdminRefused("text", AdminReason.AS_TEXT, f"{file}, {what}: {reason}", "Change the file's text itself.")


def _refused(field: str, detail: str, fix: str) -> AdminRefused:
    return AdminRefused(field, AdminReason.MALFORMED, detail, fix)
