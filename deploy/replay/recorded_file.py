"""Which events does a recorded file hold, and which of its rows give none?

A file is a table (CSV) read through a recording mapping, or CloudEvents one a line (NDJSON); either may be gzipped.
What spoils the whole file raises RecordingError; what spoils one row is an `Unmapped` in its place.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from deploy.site import read_text
from ingest.decode.recorded_row import RowMapper
from ingest.decode.recording import RecordingMapping, columns_of, parse_mapping
from schemas import codec
from schemas.errors import InvalidEvent, OperatorError
from schemas.event import EVENT_BYTES_MAX, AnyEvent
from schemas.site import Site

RECORDINGS_FOLDER = "recordings"
LINE_BYTES_MAX = 2 * EVENT_BYTES_MAX  # a longer line of NDJSON is one Unmapped and is not held in memory whole
_GZIP_MAGIC = b"\x1f\x8b"
_TABLE_SUFFIXES = (".csv", ".tsv", ".txt")
_EVENT_SUFFIXES = (".ndjson", ".jsonl")


class RecordingError(OperatorError):
    """A recorded file cannot be read on: file, position, reason, and the fix."""

    def __init__(self, file: Path, position: str, reason: str, fix: str) -> None:
        super().__init__(f"{file}: {position}: {reason}.", fix)


class Recorded(msgspec.Struct, frozen=True):
    """An event and its JSON, which for NDJSON are the file's own bytes. Lines count from 1."""

    line: int
    event: AnyEvent
    raw: bytes


class Unmapped(msgspec.Struct, frozen=True):
    """A row that gives no event, and why. `left_out` is true where the mapping's `where` says so."""

    line: int
    reason: str
    left_out: bool = False


def load_mappings(site_folder: Path, site: Site) -> dict[str, RecordingMapping]:
    """The site pack's recording mappings by name, each checked. Raises SiteError."""
    files = sorted((site_folder / RECORDINGS_FOLDER).glob("*.toml"))
    return {
        file.stem: parse_mapping(read_text(file), f"{RECORDINGS_FOLDER}/{file.name}", site.areas) for file in files
    }


def choose_mapping(
    file: Path, mappings: Mapping[str, RecordingMapping], name: str | None = None
) -> RecordingMapping | None:
    """The mapping called `name`, else the one whose columns the file's header has; None for NDJSON.

    Of several that fit, the one that reads the most columns is taken. Raises RecordingError.
    """
    known = ", ".join(mappings) or "none"
    if name is not None:
        if name not in mappings:
            raise RecordingError(file, "--as", f"there is no mapping {name!r}", f"The site pack has: {known}.")
        return mappings[name]
    suffix = Path(file.name.removesuffix(".gz")).suffix.lower()
    if suffix in _EVENT_SUFFIXES:
        return None
    if suffix not in _TABLE_SUFFIXES:
        fix = (
            f"Name it {', '.join(s + '(.gz)' for s in _EVENT_SUFFIXES + _TABLE_SUFFIXES[:1])}, or give --as MAPPING."
        )
        raise RecordingError(file, "its name", "it does not say what the file is", fix)
    fitting = {
        label: len(columns_of(mapping))
        for label, mapping in mappings.items()
        if columns_of(mapping) <= set(_header(file, mapping.delimiter))
    }
    best = [label for label, count in fitting.items() if count == max(fitting.values())]
    if len(best) != 1:
        reason = f"mappings {' and '.join(best)} fit equally" if best else "no mapping's columns are all there"
        fix = f"Give --as MAPPING (the site pack has: {known})."
        raise RecordingError(file, "line 1", reason, fix if best else fix[:-1] + ", or add one.")
    return mappings[best[0]]


def read_recording(file: Path, mapping: RecordingMapping | None) -> Iterator[Recorded | Unmapped]:
    """The file's events in its own order, with every row that gives none. Raises RecordingError."""
    return _read_events(file) if mapping is None else _read_table(file, mapping)


def _read_table(file: Path, mapping: RecordingMapping) -> Iterator[Recorded | Unmapped]:
    columns = _header(file, mapping.delimiter)
    if missing := sorted(columns_of(mapping) - set(columns)):
        fix = "Choose another mapping with --as, or correct the header."
        raise RecordingError(file, "line 1", f"columns are missing: {', '.join(missing)}", fix)
    if twice := sorted({column for column in columns_of(mapping) if columns.count(column) > 1}):
        raise RecordingError(file, "line 1", f"columns occur twice: {', '.join(twice)}", "Rename one of them.")
    mapper = RowMapper(mapping)
    for line, cells in _rows(file, mapping.delimiter):
        if line == 1:
            continue
        if isinstance(cells, str):
            yield Unmapped(line, cells)
        elif len(cells) != len(columns):
            yield Unmapped(line, f"the row has {len(cells)} columns, the header {len(columns)}")
        else:
            yield from _map_row(mapper, line, dict(zip(columns, cells, strict=True)))


def _map_row(mapper: RowMapper, line: int, row: dict[str, str]) -> Iterator[Recorded | Unmapped]:
    try:
        if not mapper.takes(row):
            yield Unmapped(line, "the mapping's `where` leaves it out", left_out=True)
            return
        events = mapper.events(row)
    except InvalidEvent as error:
        yield Unmapped(line, str(error))
        return
    if not events:
        yield Unmapped(line, "a column that every event of the mapping needs is empty")
    for event in events:
        yield Recorded(line, event, msgspec.json.encode(event))


def _read_events(file: Path) -> Iterator[Recorded | Unmapped]:
    seen = False
    with _opened(file) as content:
        line = 0
        while raw := _read_line(file, content, line):
            line += 1
            if not (text := raw.strip()):
                continue
            seen = True
            try:
                # A line over the bound is cut short, which `decode` refuses by its size as well.
                yield Recorded(line, codec.decode(text), text)
            except InvalidEvent as error:
                yield Unmapped(line, str(error))
            if not raw.endswith(b"\n"):
                _skip_line(file, content, line)
    if not seen:
        raise RecordingError(file, "line 1", "the file is empty", "Give a file with events in it.")


def _header(file: Path, delimiter: str) -> list[str]:
    for _, cells in _rows(file, delimiter):
        if isinstance(cells, str):
            raise RecordingError(file, "line 1", cells, "Correct the header.")
        return [cell.strip() for cell in cells]
    raise RecordingError(file, "line 1", "the file is empty", "Give a file with a header and rows.")


def _rows(file: Path, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """The line where each row begins with its cells, or with what is wrong with it. Blank lines are no rows."""
    with _opened(file) as content:
        # A byte that is not UTF-8 passes as a surrogate, so that it spoils its own row and not the file.
        text = io.TextIOWrapper(content, encoding="utf-8-sig", errors="surrogateescape", newline="")
        # Strict, or a quote that is never closed would swallow the rest of the file without a word.
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, f"it is not CSV: {error}"
            except (EOFError, OSError, zlib.error) as error:
                raise _unreadable(file, f"line {line}", error) from error
            else:
                if cells:
                    yield line, cells


def _opened(file: Path) -> gzip.GzipFile | io.BufferedReader:
    try:
        opened = file.open("rb")
        try:
            is_gzip = opened.peek(2)[:2] == _GZIP_MAGIC
        except OSError:
            opened.close()
            raise
    except OSError as error:
        fix = "Give the path of a recorded file."
        raise RecordingError(file, "the file", error.strerror or "it cannot be read", fix) from error
    if is_gzip:
        return _OwningGzip(opened)
    if file.suffix == ".gz":
        opened.close()
        raise RecordingError(file, "byte 0", "its name says gzip, its content does not", "Rename or repack it.")
    return opened


class _OwningGzip(gzip.GzipFile):
    """A gzip reader that closes the file below it, which GzipFile leaves to whoever opened it."""

    def __init__(self, below: io.BufferedReader) -> None:
        super().__init__(fileobj=below, mode="rb")
        self._below = below

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._below.close()


def _read_line(file: Path, content: gzip.GzipFile | io.BufferedReader, line: int) -> bytes:
    try:
        return content.readline(LINE_BYTES_MAX)
    except (EOFError, OSError, zlib.error) as error:
        raise _unreadable(file, f"line {line + 1}", error) from error


def _skip_line(file: Path, content: gzip.GzipFile | io.BufferedReader, line: int) -> None:
    while (rest := _read_line(file, content, line)) and not rest.endswith(b"\n"):
        pass


def _unreadable(file: Path, position: str, error: Exception) -> RecordingError:
    if isinstance(error, EOFError):
        return RecordingError(file, position, "the gzip data end too early", "Copy the file again, whole.")
    if isinstance(error, gzip.BadGzipFile | zlib.error):
        return RecordingError(file, position, f"the gzip data are damaged ({error})", "Copy the file again.")
    return RecordingError(file, position, str(error), "Make the file readable.")
