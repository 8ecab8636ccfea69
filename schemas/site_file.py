"""How is a file of the site pack read, and how is a mistake in it told?"""

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator
from difflib import get_close_matches
from typing import Any, NamedTuple, Protocol, TypeVar, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import inspect

from schemas.area import Zone
from schemas.errors import SiteError
from schemas.toml_lines import Path, line_of, toml_lines

_T = TypeVar("_T")

NESTING_MAX = 32
"""Tables and arrays within each other. A deeper file is refused: whoever walks it would run out of stack."""

_NAMED_MAX = 20
"""So many words are named as a fix; of more only the nearest one."""

_SHOWN_MAX = 60
"""Characters of a wrong text that its mistake repeats."""

_ONE_LINE = frozenset({"name", "names", "unit"})
"""Keys of texts that are shown in one line. Other texts may hold line breaks and tabs."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_BUT_BREAKS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

_AT = re.compile(r"\(at line (\d+), column \d+\)$")
_WHERE = re.compile(r" - at (?:`key` in )?`\$(.*)`$")
_UNKNOWN_KEY = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING_KEY = re.compile(r"Object missing required field `(.*)`")
_OTHER_WORD = re.compile(r"Invalid enum value '(.*)'", re.DOTALL)
_STEP = re.compile(r"\.([A-Za-z0-9_]+)|\[(\d+)\]|\[\.\.\.\]")


class Mistake(NamedTuple):
    """What is wrong with what stands at `path`, and how it is put right. Only the fix ends in a full stop."""

    path: Path
    reason: str
    fix: str


def check_zone(zone: Zone, wrong: Callable[[str, str], SiteError]) -> None:
    """Raises what `wrong` makes of the reason and the fix where a time zone is not known."""
    try:
        ZoneInfo(zone)
    # The name becomes a path: it may lead to a folder, or be longer than a path can be.
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise wrong(f"time zone {zone!r} is not known", "Use an IANA name, as Asia/Ho_Chi_Minh.") from None


def read_toml(text: str, file: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises SiteError."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason = str(error)
        found = _AT.search(reason)
        line = int(found[1]) if found else text.count("\n") + 1
        raise SiteError(file, f"line {line}", reason, "Correct the syntax.") from error
    except RecursionError:
        raise _too_deep(file) from None
    # Python refuses to read an integer of thousands of digits.
    except ValueError as error:
        raise SiteError(file, "the file", str(error).split(";")[0], "Shorten the number.") from None
    if _depth(tables) > NESTING_MAX:
        raise _too_deep(file)
    for path, string in _strings(tables, ()):
        if found := control_mistake(string, one_line=not _ONE_LINE.isdisjoint(path)):
            key = next((f"`{step}`: " for step in reversed(path) if isinstance(step, str) and step.isprintable()), "")
            raise mistake_at(file, text, path, key + found[0], found[1])
    return tables


def control_mistake(text: str, *, one_line: bool) -> tuple[str, str] | None:
    """The reason and the fix where a text of the pack holds a control character; None where it holds none.

    What the pack says ends in keys, messages and tables: the first are taken apart at such characters, and the
    database takes no NUL at all.
    """
    found = (_CONTROL if one_line else _CONTROL_BUT_BREAKS).search(text)
    if found is None:
        return None
    fix = "Remove it; write the text in one line." if found[0] in "\t\r\n" else "Remove it."
    return f"the text {text[:_SHOWN_MAX]!r} holds the control character U+{ord(found[0]):04X}", fix


def _strings(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    """All texts within, keys too, each with where it stands."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, below in cast("dict[str, object]", value).items():
            yield (*path, key), key
            yield from _strings(below, (*path, key))
    elif isinstance(value, list):
        for number, below in enumerate(cast("list[object]", value)):
            yield from _strings(below, (*path, number))


def _depth(tables: dict[str, Any]) -> int:
    """How many tables and arrays stand within each other at most."""
    depth = 0
    level: list[object] = [tables]
    while level:
        depth += 1
        level = [value for one in level for value in _within(one) if isinstance(value, dict | list)]
    return depth


def _within(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).values()
    return cast("list[object]", value)


def _too_deep(file: str) -> SiteError:
    reason = "tables and arrays nest too deep"
    return SiteError(file, "the file", reason, f"Put at most {NESTING_MAX} of them within each other.")


def convert_file(text: str, cls: type[_T], file: str) -> _T:
    """A whole TOML text as a `cls`. Raises SiteError with the line."""
    tables = read_toml(text, file)
    try:
        return msgspec.convert(tables, cls)
    except msgspec.ValidationError as error:
        wrong = mistake_of(error, cls)
        raise mistake_at(file, text, *wrong) from error


def mistake_at(file: str, text: str, path: Path, reason: str, fix: str) -> SiteError:
    """What is wrong with what stands at `path` of a TOML text, with its line."""
    return SiteError(file, f"line {line_of(toml_lines(text), path)}", reason, fix)


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


_Named = TypeVar("_Named", bound=_HasId)


def numbered(
    entries: Iterable[_Named], file: str, text: str, table: str, its: str = "its"
) -> Iterator[tuple[int, _Named]]:
    """The entries of the array of tables `table`, each with its place. Raises SiteError at an id that was there."""
    seen: set[str] = set()
    for number, entry in enumerate(entries):
        if entry.id in seen:
            reason, fix = f"the id {entry.id!r} is used twice", f"Give every {table} {its} own."
            raise mistake_at(file, text, (table, number, "id"), reason, fix)
        seen.add(entry.id)
        yield number, entry


def mistake_of(error: msgspec.ValidationError, cls: type) -> Mistake:
    """What a conversion to `cls` says is wrong. Of a key in a free table only the table is named."""
    message = str(error)
    found = _WHERE.search(message)
    path: list[str | int] = []
    for step in _STEP.finditer(found[1] if found else ""):
        if step[0] == "[...]":
            break
        path.append(step[1] if step[1] is not None else int(step[2]))
    reason = message[: found.start()] if found else message
    types = _types_at(cls, path)
    if unknown := _UNKNOWN_KEY.fullmatch(reason):
        keys = [
            field.encode_name for type_ in types if isinstance(type_, inspect.StructType) for field in type_.fields
        ]
        return Mistake((*path, unknown[1]), f"`{unknown[1]}` is not a key here", suggestion(unknown[1], keys))
    if missing := _MISSING_KEY.fullmatch(reason):
        return Mistake(tuple(path), f"`{missing[1]}` is missing", "Add it.")
    key = next((f"`{step}`: " for step in reversed(path) if isinstance(step, str)), "")
    if other := _OTHER_WORD.fullmatch(reason):
        words = [str(word) for type_ in types for word in _words(type_)]
        return Mistake(tuple(path), f"{key}{other[1]!r} is not known", suggestion(other[1], words))
    return Mistake(tuple(path), key + reason[:1].lower() + reason[1:], "Give a value of that kind.")


def _types_at(cls: type, path: Iterable[str | int]) -> list[inspect.Type]:
    """What may stand at this path within a `cls`."""
    types: list[inspect.Type] = [inspect.type_info(cls)]
    for step in path:
        types = [below for type_ in types for below in _below(type_, step)]
    return types


def _below(type_: inspect.Type, step: str | int) -> Iterable[inspect.Type]:
    match type_:
        case inspect.StructType(fields=fields):
            found = next((field.type for field in fields if field.encode_name == step), None)
        case inspect.ListType(item_type=found) | inspect.DictType(value_type=found):
            pass
        case _:
            found = None
    if isinstance(found, inspect.UnionType):
        return found.types
    return () if found is None else (found,)


def _words(type_: inspect.Type) -> Iterable[object]:
    match type_:
        case inspect.EnumType(cls=cls):
            return [member.value for member in cls]
        case inspect.LiteralType(values=values):
            return values
        case _:
            return ()


def suggestion(word: str, known: Iterable[str]) -> str:
    """A fix for a word that is not known: the one that was perhaps meant, else all of them."""
    words = list(known)
    near = get_close_matches(word, words, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Use one of: {', '.join(words)}."


def check_known(word: str, known: Collection[str] | None, what: str, file: str, text: str, path: Path) -> None:
    """Raises SiteError for the word at `path` where it is not known. None: nothing says what is."""
    if known is not None and word not in known:
        fix = suggestion(word, known) if known else f"Declare it; this pack has no {what} at all."
        raise mistake_at(file, text, path, f"{what} {word!r} is not known", fix)


def check_declared(words: Iterable[str], known: Collection[str], what: str, file: str, text: str, path: Path) -> None:
    """Raises SiteError for the first word of the list at `path` that the rest of the pack does not declare."""
    for number, word in enumerate(words):
        if word not in known:
            near = get_close_matches(word, known, n=1)
            named = near or 0 < len(known) <= _NAMED_MAX
            fix = suggestion(word, known) if named else "Declare it."
            raise mistake_at(file, text, (*path, number), f"{what} {word!r} is not declared in this pack", fix)
