"""On which line of a TOML text does a key stand?

The standard library's reader gives values without positions. This one gives positions without values: it walks a text
that has been read already, so it need not find what is wrong, only where each key, table and array element begins.

Source: TOML 1.0.0.
"""

import re
from collections.abc import Mapping

Path = tuple[str | int, ...]
"""Keys and positions in arrays, from the root of the document."""

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# A multi-line string may end in up to two quotes of its own before the three that close it.
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})' r"|'''.*?'''(?:'{0,2})" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\r\n]+")


def toml_lines(text: str) -> Mapping[Path, int]:
    """The line, from 1, of every key, table and array element of a valid TOML text.

    A table that is given in parts stands where the first of them begins.
    """
    return _Walk(text).lines


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """The line of the path, or of the nearest thing around it that has one; line 1 where nothing has."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 1


class _Walk:
    """One pass over the text: `at` is where it stands, `lines` what it has found."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted_to = 0
        self._array_sizes: dict[Path, int] = {}
        self.lines: dict[Path, int] = {}
        self._document()

    def _document(self) -> None:
        table: Path = ()
        self._skip()
        while self._at < len(self._text):
            if self._takes("[["):
                table = self._header(opens_element=True)
                self._expect("]]")
            elif self._takes("["):
                table = self._header(opens_element=False)
                self._expect("]")
            else:
                self._pair(table)
            self._skip()

    def _header(self, *, opens_element: bool) -> Path:
        line = self._line_now()
        keys = self._keys()
        path: Path = ()
        for key in keys[:-1]:
            path = self._newest((*path, key))
            self.lines.setdefault(path, line)
        path = (*path, keys[-1])
        self.lines.setdefault(path, line)
        if opens_element:
            self._array_sizes[path] = self._array_sizes.get(path, 0) + 1
            path = self._newest(path)
            self.lines[path] = line
        return path

    def _newest(self, path: Path) -> Path:
        """The last element of an array of tables, for everything else the path itself."""
        size = self._array_sizes.get(path)
        return path if size is None else (*path, size - 1)

    def _pair(self, table: Path) -> None:
        line = self._line_now()
        path = table
        for key in self._keys():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self._expect("=")
        self._skip()
        self._value(path)

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip()
            if found := _STRING.match(self._text, self._at):
                self._at = found.end()
                keys.append(_unquoted(found.group()))
            else:
                found = _BARE_KEY.match(self._text, self._at)
                assert found is not None, "the text has been read as TOML"
                self._at = found.end()
                keys.append(found.group())
            self._skip()
            if not self._takes("."):
                return keys

    def _value(self, path: Path) -> None:
        if self._takes("["):
            self._array(path)
        elif self._takes("{"):
            self._inline_table(path)
        elif found := _STRING.match(self._text, self._at) or _SCALAR.match(self._text, self._at):
            self._at = found.end()

    def _array(self, path: Path) -> None:
        index = 0
        self._skip()
        while not self._takes("]"):
            self.lines[*path, index] = self._line_now()
            self._value((*path, index))
            index += 1
            self._skip()
            self._takes(",")
            self._skip()

    def _inline_table(self, path: Path) -> None:
        self._skip()
        while not self._takes("}"):
            self._pair(path)
            self._skip()
            self._takes(",")
            self._skip()

    def _skip(self) -> None:
        """Over white space, line ends and comments."""
        found = _SPACE.match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _takes(self, mark: str) -> bool:
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def _expect(self, mark: str) -> None:
        taken = self._takes(mark)
        assert taken, "the text has been read as TOML"

    def _line_now(self) -> int:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        return self._line


_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")


def _unquoted(key: str) -> str:
    """What a quoted key says. It is of one line."""
    inner = key[1:-1]
    if key.startswith("'"):
        return inner
    return _ESCAPE.sub(lambda m: _ESCAPES[m[3]] if m[3] else chr(int(m[1] or m[2], 16)), inner)
