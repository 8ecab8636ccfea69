"""How does the board reach a browser?

From the files in `board/`, read once at the start. They load nothing from elsewhere, and the policy forbids it.
"""

import hashlib
import mimetypes
from importlib.resources import files

from fastapi import APIRouter, Request
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.responses import Response

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
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


class Page(Struct, frozen=True):
    """A file of the board."""

    body: bytes
    media_type: str
    etag: str


def load_pages() -> dict[str, Page]:
    """The board's files by name."""
    return {
        file.name: _page(file.name, file.read_bytes())
        for file in (files("dashboard_api") / "board").iterdir()
        if file.is_file()
    }


def page_routes(pages: dict[str, Page]) -> APIRouter:
    """`/` and what it loads."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        return _serve(pages[INDEX], request)

    @router.api_route("/board/{name}", methods=["GET", "HEAD"])
    async def part(name: str, request: Request) -> Response:
        if name not in pages:
            raise HTTPException(404, "The board has no such file.")
        return _serve(pages[name], request)

    return router


def _serve(page: Page, request: Request) -> Response:
    headers = {**_HEADERS, "ETag": page.etag}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if page.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(page.body, media_type=page.media_type, headers=headers)


def _page(name: str, body: bytes) -> Page:
    # The table of the machine is not asked: some say text/plain for JavaScript.
    media_type = {"js": "text/javascript", "svg": "image/svg+xml"}.get(name.rpartition(".")[2])
    media_type = media_type or mimetypes.MimeTypes(()).guess_type(name)[0] or "application/octet-stream"
    return Page(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
