"""What does the site pack say now? It may be edited while the centre runs.

A change is taken up within seconds when all of it is right; else the last good pack stays in force, and what is wrong
is logged once and shown in `/metrics`.

A file that is being saved may be cut anywhere and yet be valid: what was not read of it would not be counted, and no
event is counted twice to make up for it. So a change counts only when it has stood still for a moment, and a
catalogue never becomes empty by itself.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from prometheus_client import Gauge

from deploy.site import load_pack
from schemas.errors import SiteError
from schemas.identity import PEOPLE_FILE
from schemas.kpi_table import KPIS_FILE
from schemas.site import Pack, Site, parse_site
from schemas.sketch_kind import check_kinds

LOOK_EVERY_S = 2.0
"""Between two looks at the files."""

SETTLE_S = 1.0
"""For so long a changed pack has to stand still before it is taken up."""

BROKEN = Gauge(
    "ioc_site_pack_broken", "1 while the site pack on disk has a mistake and the last good one is in force"
)

_log = logging.getLogger("ioc.site")


class LoadedPack(NamedTuple):
    """A pack's texts and what they mean."""

    pack: Pack
    site: Site


class SiteFolder:
    """A pack's folder, looked at again and again by a thread of its own once `watch` is called."""

    def __init__(self, folder: Path, load: Callable[[Path], Pack] = load_pack, *, settle_s: float = SETTLE_S) -> None:
        """Reads the pack. Raises SiteError: a centre does not start on a pack that is wrong."""
        self._folder = folder
        self._load = load
        self._settle_s = settle_s
        self._seen = pack = load(folder)
        self.loaded = LoadedPack(pack, parse_site(pack))
        self.problem = ""

    def current(self) -> Site:
        """The site in force."""
        return self.loaded.site

    def look(self) -> None:
        """Takes up the pack on disk where it has changed, stands still, and all of it is right.

        Blocks for SETTLE_S when it finds a change.
        """
        try:
            pack = self._settled()
            if pack is None:
                return
            if pack != self.loaded.pack:
                self.loaded = LoadedPack(pack, self._parsed(pack))
                _log.info("the site pack in %s has changed and is in force", self._folder)
        except SiteError as error:
            self._keep(str(error))
        # Whatever a file may hold, it must end neither the counting nor the looking.
        except Exception as error:
            self._keep(f"{type(error).__name__}: {error}")
        else:
            BROKEN.set(0)
            self.problem = ""

    def _settled(self) -> Pack | None:
        """The pack on disk; None while it is being written."""
        pack = self._load(self._folder)
        if pack not in (self.loaded.pack, self._seen):
            time.sleep(self._settle_s)
            earlier, pack = pack, self._load(self._folder)
            if pack != earlier:
                return None
        self._seen = pack
        return pack

    def _parsed(self, pack: Pack) -> Site:
        site = parse_site(pack)
        check_successor(site, self.loaded.site, [self.loaded.pack[KPIS_FILE]])
        return site

    def _keep(self, problem: str) -> None:
        """Keeps the last good pack in force."""
        BROKEN.set(1)
        if problem != self.problem:
            _log.error("the site pack has a mistake, so the last good one stays in force: %s", problem)
        self.problem = problem

    def watch(self) -> None:
        """Looks every LOOK_EVERY_S from now on, in a thread that ends with the process."""
        threading.Thread(target=self._watch, name="site-folder", daemon=True).start()

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(LOOK_EVERY_S):
            self.look()


def check_successor(site: Site, present: Site | None, past: Iterable[str]) -> None:
    """Raises SiteError for a site that a running centre does not go over to from the present one.

    `past` are texts of `kpis.toml` that were in force.
    """
    if present is not None and present.kpis.kpis and not site.kpis.kpis:
        fix = "Declare what is to be counted; `ioc migrate` puts even an empty catalogue in force."
        raise SiteError(KPIS_FILE, "the file", "it declares no indicator any more", fix)
    if present is not None and present.people and not site.people:
        fix = "Restart the centre if everyone who reaches it may do everything from now on; else restore the file."
        raise SiteError(PEOPLE_FILE, "the file", "it has gone, and with it every sign-in", fix)
    check_kinds(site.kpis, past)
