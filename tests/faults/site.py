"""What does the site watch whose workers are killed? Every measure, on three levels of areas in two zones."""

from pathlib import Path

from schemas.site import Pack, Site, parse_site
from tests.streams import world

PACK: Pack = world.PACK | {
    # Only the watermark closes buckets here: the log's clock of these tests lies behind the one on the wall.
    "site.toml": world.PACK["site.toml"] + "\nclosing = { grace_s = 60, idle_s = 2592000 }\n"
}
SITE: Site = parse_site(PACK)


def write_pack(pack: Pack, folder: Path) -> Path:
    """Puts the files of a pack into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pack.items():
        (folder / name).write_text(text)
    return folder
