"""How do the pages reach a browser?

From the files in `board/`, read once at the start. They load nothing from elsewhere, and the policy forbids it; the
one exception is a map's tiles, where the site pack names an address for them. Each folder with an `index.html` is a
page under the folder's name, and one of them is the page at `/`; what several pages share lies in `shared`, what
others have written in `vendor`. A file's path is its address, so that whatever reads the folder, an editor or a type
checker, finds what a page imports.
"""

import hashlib
import mimetypes
from collections.abc import Callable
from importlib.resources import files

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dashboard_api.kept import Kept, keep, serve
from schemas.map_tiles import MapTiles

_IMAGES = "img-src 'self' data: blob:"
POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; {_IMAGES}; "
    "worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Always asked for, and answered with 304 while unchanged: after an upgrade no board runs half of the old files.
    "Cache-Control": "no-cache",
}
INDEX = "index.html"
SERVICE_WORKER = "sw.js"


FRONT = "kpi"
"""The folder of the page at `/`."""

WITH_MAP = frozenset({"operator", "open", "wall"})
"""Pages whose map may have tiles under it, where the site pack names an address for them."""


def load_pages() -> dict[str, Kept]:
    """All files by their address without the slash before it, as `kpi/board.js`."""
    return {
        f"{folder.name}/{file.name}": _page(file.name, file.read_bytes())
        for folder in (files("dashboard_api") / "board").iterdir()
        if folder.is_dir()
        for file in folder.iterdir()
    }


def page_routes(pages: dict[str, Kept], tiles: Callable[[], MapTiles | None] = lambda: None) -> APIRouter:
    """`/`, a route for each page, and what they load. `tiles` is where maps may take their ground from by now."""
    router = APIRouter(include_in_schema=False)
    # Of all files together: a page that stays open for weeks sees by it that it is another one by now.
    version = hashlib.sha256("".join(f"{path}{kept.etag}" for path, kept in sorted(pages.items())).encode())
    everywhere = {**_HEADERS, "IOC-Pages": version.hexdigest()[:16]}

    def headers(folder: str) -> dict[str, str]:
        known = tiles() if folder in WITH_MAP else None
        if known is None:
            return everywhere
        return {**everywhere, "Content-Security-Policy": POLICY.replace(_IMAGES, f"{_IMAGES} {known.origin}")}

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        return serve(pages[f"{FRONT}/{INDEX}"], request, headers(FRONT))

    def add(folder: str) -> None:
        async def page(request: Request) -> Response:
            return serve(pages[f"{folder}/{INDEX}"], request, headers(folder))

        async def part(name: str, request: Request) -> Response:
            if f"{folder}/{name}" not in pages:
                raise HTTPException(404, "The page has no such file.")
            answer = serve(pages[f"{folder}/{name}"], request, headers(folder))
            if name == SERVICE_WORKER:
                # The page lies beside the folder and not in it, and unless told a worker serves its own folder alone.
                answer.headers["Service-Worker-Allowed"] = f"/{folder}"
            return answer

        if f"{folder}/{INDEX}" in pages:
            router.add_api_route(f"/{folder}", page, methods=["GET", "HEAD"], response_model=None)
        router.add_api_route(f"/{folder}/{{name}}", part, methods=["GET", "HEAD"], response_model=None)

    for folder in sorted({path.partition("/")[0] for path in pages}):
        add(folder)
    return router


def _page(name: str, body: bytes) -> Kept:
    # The table of the machine is not asked: some say text/plain for JavaScript.
    known = {"js": "text/javascript", "svg": "image/svg+xml", "webmanifest": "application/manifest+json"}
    media_type = known.get(name.rpartition(".")[2])
    media_type = media_type or mimetypes.MimeTypes(()).guess_type(name)[0] or "application/octet-stream"
    return keep(body, media_type)
