"""How does a site pack on disk become a `Site`?"""

from functools import lru_cache
from pathlib import Path

from schemas.area_cut import cut_areas
from schemas.area_table import AREAS_FILE
from schemas.errors import SiteError
from schemas.event import AreaCode
from schemas.site import OPTIONAL_FILES, REQUIRED_FILES, SITE_FILE, AreasFrom, Pack, Site, parse_header, parse_site

SHIPPED = Path(__file__).parent / "sites"
"""The site packs that come with the centre."""

PARTS_MAX = 16
"""How many provinces' parts of shipped tables are kept. Beyond that the one unused for longest is cut again."""


def load_site(folder: Path) -> Site:
    """Reads and checks the pack in a folder. Raises SiteError at the first mistake."""
    return parse_site(load_pack(folder))


def load_pack(folder: Path) -> Pack:
    """The texts of the pack's files, with the area files that `areas` of `site.toml` stands for. Raises SiteError."""
    header_text = read_text(folder / SITE_FILE)
    header = parse_header(header_text)
    pack = {SITE_FILE: header_text}
    if header.areas is not None:
        if (folder / AREAS_FILE).exists():
            reason = f"`areas` takes the areas from {header.areas.pack!r}, and there is an {AREAS_FILE} too"
            raise SiteError(str(folder / SITE_FILE), "areas", reason, "Remove one of the two.")
        pack |= _shipped_part(header.areas, header.area_list, str(folder / SITE_FILE))
    for name in (*REQUIRED_FILES, *OPTIONAL_FILES):
        if name not in pack and (name in REQUIRED_FILES or (folder / name).exists()):
            pack[name] = read_text(folder / name)
    return pack


# The shipped tables stay as they are while a process runs; a watched pack is read again every few seconds.
@lru_cache(maxsize=PARTS_MAX)
def _shipped_part(areas: AreasFrom, list_id: str, site_file: str) -> Pack:
    """The area files of a part of a shipped pack."""
    names = sorted(folder.name for folder in SHIPPED.iterdir() if (folder / AREAS_FILE).is_file())
    if areas.pack not in names:
        reason = f"there is no shipped pack {areas.pack!r}"
        raise SiteError(site_file, "areas", reason, f"Use one of: {', '.join(names)}.")
    shipped = load_pack(SHIPPED / areas.pack)
    header = parse_header(shipped[SITE_FILE])
    if header.area_list != list_id:
        reason = f"the areas of {areas.pack!r} are on list {header.area_list!r}, not {list_id!r}"
        raise SiteError(site_file, "area_list", reason, f"Write area_list = {header.area_list!r}.")
    return cut_areas(shipped, header.area_list, header.zone, AreaCode(areas.root), site_file)


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
