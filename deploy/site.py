"""How does a site pack on disk become a `Site`?"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from deploy.admin.pending import Moving, pending_texts
from schemas.area_cut import cut_areas
from schemas.area_table import AREAS_FILE
from schemas.errors import SiteError
from schemas.event import AreaCode
from schemas.layer import LAYERS_FILE, layer_files
from schemas.site import OPTIONAL_FILES, REQUIRED_FILES, SITE_FILE, AreasFrom, Pack, Site, parse_header, parse_site

SHIPPED = Path(__file__).parent / "sites"
"""The site packs that come with the centre."""

READS_MAX = 10
"""How often a folder is read again because a change was moved in meanwhile."""

PARTS_MAX = 16
"""How many provinces' parts of shipped tables are kept. Beyond that the one unused for longest is cut again."""


def load_site(folder: Path) -> Site:
    """Reads and checks the pack in a folder. Raises SiteError at the first mistake."""
    return parse_site(load_pack(folder))


def load_pack(folder: Path) -> Pack:
    """The texts of the pack's files, with the area files that `areas` of `site.toml` stands for. Raises SiteError."""
    return whole_pack(read_folder(folder), folder)


def read_folder(folder: Path) -> dict[str, str]:
    """The texts of the files that a pack consists of, by name, as far as they lie in a folder. Raises SiteError.

    A change that is being moved into the folder counts as a whole from its first moment on.
    """
    for _ in range(READS_MAX):
        try:
            return _read_folder(folder)
        except Moving:
            continue
    reason = "its files change again and again while they are read"
    raise SiteError(str(folder), "the folder", reason, "Write them beside it, and move them in.")


def whole_pack(texts: Mapping[str, str], folder: Path) -> Pack:
    """The pack that files of these texts make in this folder. Raises SiteError."""
    for name in REQUIRED_FILES:
        if name not in texts and name != AREAS_FILE:
            raise _absent(folder / name)
    header = parse_header(texts[SITE_FILE])
    pack = {SITE_FILE: texts[SITE_FILE]}
    if header.areas is not None:
        if AREAS_FILE in texts:
            reason = f"`areas` takes the areas from {header.areas.pack!r}, and there is an {AREAS_FILE} too"
            raise SiteError(str(folder / SITE_FILE), "areas", reason, "Remove one of the two.")
        pack |= _shipped_part(header.areas, header.area_list, str(folder / SITE_FILE))
    elif AREAS_FILE not in texts:
        raise _absent(folder / AREAS_FILE)
    known = (*REQUIRED_FILES, *OPTIONAL_FILES, *layer_files(texts.get(LAYERS_FILE, "")))
    pack.update((name, texts[name]) for name in known if name in texts and name not in pack)
    return pack


def _read_folder(folder: Path) -> dict[str, str]:
    moving = pending_texts(folder)

    def text(name: str) -> str | None:
        if name in moving:
            return moving[name]
        return read_text(folder / name) if (folder / name).exists() else None

    names = [*REQUIRED_FILES, *OPTIONAL_FILES]
    found = {name: read for name in names if (read := text(name)) is not None}
    layers = layer_files(found.get(LAYERS_FILE, ""))
    found |= {name: read for name in layers if (read := text(name)) is not None}
    if moving.keys() != pending_texts(folder).keys():
        raise Moving
    return found


def _absent(file: Path) -> SiteError:
    return SiteError(str(file), "the file", "it does not exist", "Add it to the site pack.")


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
        raise _absent(file) from None
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise SiteError(str(file), "the file", reason, "Make it a readable file.") from error
    except UnicodeDecodeError as error:
        # Only what stands before the bad byte is sure to be text, and its newlines give the line.
        line = error.object[: error.start].count(b"\n") + 1
        reason = f"byte {error.start} is not UTF-8"
        raise SiteError(str(file), f"line {line}", reason, "Save the file as UTF-8.") from None
