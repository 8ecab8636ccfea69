"""What does the site pack say now? It may be edited while the centre runs.

A change is taken up within seconds when all of it is right; else the last good pack stays in force, and what is wrong
is logged once and shown in `/metrics`.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from prometheus_client import Gauge

from deploy.site import load_pack
from schemas.errors import SiteError
from schemas.site import Pack, Site, parse_site

LOOK_EVERY_S = 2.0
"""Between two looks at the files."""

BROKEN = Gauge("ioc_site_pack_broken", "1 while the site pack on disk has a mistake and the last good one is in force")

_log = logging.getLogger("ioc.site")


class LoadedPack(NamedTuple):
    """A pack's texts and what they mean."""

    pack: Pack
    site: Site


class SiteFolder:
    """A pack's folder, looked at again and again by a thread of its own once `watch` is called."""

    def __init__(self, folder: Path, load: Callable[[Path], Pack] = load_pack) -> None:
        """Reads the pack. Raises SiteError: a centre does not start on a pack that is wrong."""
        self._folder = folder
        self._load = load
        pack = load(folder)
        self.loaded = LoadedPack(pack, parse_site(pack))
        self.problem = ""

    def current(self) -> Site:
        """The site in force."""
        return self.loaded.site

    def look(self) -> None:
        """Takes up the pack on disk where it has changed and all of it is right."""
        try:
            pack = self._load(self._folder)
            if pack != self.loaded.pack:
                # Whoever saves several files should see all of them taken up, or none.
                self.loaded = LoadedPack(pack, parse_site(pack))
                _log.info("the site pack in %s has changed and is in force", self._folder)
        except SiteError as error:
            BROKEN.set(1)
            if str(error) != self.problem:
                _log.error("the site pack has a mistake, so the last good one stays in force: %s", error)
            self.problem = str(error)
        else:
            BROKEN.set(0)
            self.problem = ""

    def watch(self) -> None:
        """Looks every LOOK_EVERY_S from now on, in a thread that ends with the process."""
        threading.Thread(target=self._watch, name="site-folder", daemon=True).start()

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(LOOK_EVERY_S):
            self.look()
