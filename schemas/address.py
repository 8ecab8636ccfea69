"""Where can something be sent or put: is this an address, is this a folder?"""

from collections.abc import Collection
from pathlib import PurePosixPath
from urllib.parse import urlsplit

HTTP = ("http", "https")


def is_address(text: str, schemes: Collection[str] = HTTP) -> bool:
    """Whether a text is a URL of one of these schemes that names a host."""
    try:
        parts = urlsplit(text)
        fits = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return fits and text.isprintable() and " " not in text


def is_folder(text: str) -> bool:
    """Whether a text names a folder, and does not lead out of the one that it is in."""
    return bool(text) and "\0" not in text and ".." not in PurePosixPath(text).parts
