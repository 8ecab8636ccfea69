"""How do the pages reach a browser?

From the files in `board/`, read once at the start. They load nothing from elsewhere, and the policy forbids it. Each
folder with an `index.html` is a page under the folder's name, and one of them is the page at `/`; what several pages
share lies in `shared`, what others have written in `vendor`. A file's path is its address, so that whatever reads the
folder, an editor or a type checker, finds what a page imports.
"""

import gzip
import hashlib
import mimetypes
from importlib.resources import files

from fastapi import APIRouter, Request
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.responses import Response

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
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

GZIP_BYTES_MIN = 512
"""A smaller file costs more to take apart than to send."""


class Page(Struct, frozen=True):
    """A file of a page. `packed` is the body in gzip, where that is worth it."""

    body: bytes
    packed: bytes | None
    media_type: str
    etag: str


def load_pages() -> dict[str, Page]:
    """All files by their address without the slash before it, as `kpi/board.js`."""
    return {
        f"{folder.name}/{file.name}": _page(file.name, file.read_bytes())
        for folder in (files("dashboard_api") / "board").iterdir()
        if folder.is_dir()
        for file in folder.iterdir()
    }


def page_routes(pages: dict[str, Page]) -> APIRouter:
    """`/`, a route for each page, and what they load."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        return _serve(pages[f"{FRONT}/{INDEX}"], request)

    def add(folder: str) -> None:
        async def page(request: Request) -> Response:
            return _serve(pages[f"{folder}/{INDEX}"], request)

        async def part(name: str, request: Request) -> Response:
            if f"{folder}/{name}" not in pages:
                raise HTTPException(404, "The page has no such file.")
            answer = _serve(pages[f"{folder}/{name}"], request)
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


def _serve(page: Page, request: Request) -> Response:
    headers = {**_HEADERS, "ETag": page.etag, "Vary": "Accept-Encoding"}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if page.etag in known:
        return Response(status_code=304, headers=headers)
    if page.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(page.packed, media_type=page.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(page.body, media_type=page.media_type, headers=headers)


def _page(name: str, body: bytes) -> Page:
    # The table of the machine is not asked: some say text/plain for JavaScript.
    known = {"js": "text/javascript", "svg": "image/svg+xml", "webmanifest": "application/manifest+json"}
    media_type = known.get(name.rpartition(".")[2])
    media_type = media_type or mimetypes.MimeTypes(()).guess_type(name)[0] or "application/octet-stream"
    packed = gzip.compress(body, 9, mtime=0) if len(body) >= GZIP_BYTES_MIN else None
    if packed is not None and len(packed) >= len(body):
        packed = None
    return Page(body, packed, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
