"""How does a site pack on disk become a `Site`?"""

from pathlib import Path

from schemas.errors import SiteError
from schemas.site import REQUIRED_FILES, Pack, Site, parse_site


def load_site(folder: Path) -> Site:
    """Reads and checks the pack in a folder. Raises SiteError at the first mistake."""
    return parse_site(load_pack(folder))


def load_pack(folder: Path) -> Pack:
    """The texts of the pack's files. Raises SiteError."""
    return {name: read_text(folder / name) for name in REQUIRED_FILES}


def read_text(file: Path) -> str:
    """The UTF-8 text of a site pack's file. Raises SiteError."""
    try:
        return file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise SiteError(str(file), "the file", "it does not exist", "Add it to the site pack.") from None
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise SiteError(str(file), "the file", reason, "Make it a readable file.") from error
    except UnicodeDecodeError as error:
        # Only what stands before the bad byte is sure to be text, and its newlines give the line.
        line = error.object[: error.start].count(b"\n") + 1
        reason = f"byte {error.start} is not UTF-8"
        raise SiteError(str(file), f"line {line}", reason, "Save the file as UTF-8.") from None
