"""How does a site pack on disk become a `Site`?"""

from pathlib import Path

from schemas.errors import SiteError
from schemas.site import AREAS_FILE, KPIS_FILE, SITE_FILE, Site, parse_site


def load_site(folder: Path) -> Site:
    """Reads site.toml, areas.csv and kpis.toml. Raises SiteError at the first mistake."""
    site_toml, areas_csv, kpis_toml = (read_text(folder / name) for name in (SITE_FILE, AREAS_FILE, KPIS_FILE))
    return parse_site(site_toml, areas_csv, kpis_toml)


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
