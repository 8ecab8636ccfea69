"""Which layers does the map have, what is on them, and what does a camera see now?

A layer is shown to everyone or to some roles, as the site pack says. Whoever may not see one is not told that it
exists. Pictures are fetched by the centre, so that a browser needs no way to a camera and never sees its address.
"""

import asyncio
import gzip
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Annotated

import httpx
import msgspec
from fastapi import APIRouter, Query, Request
from msgspec import Struct
from starlette.responses import Response

from dashboard_api.config import DashboardConfig
from dashboard_api.guard import Viewer
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.rest import NoQuery, described
from schemas.command import Actor
from schemas.layer import Icon, SiteLayer, may_see_layer
from schemas.site import Site

SNAPSHOT_BYTES_MAX = 4 * 1024 * 1024
"""A larger picture is refused."""

SNAPSHOT_WAIT_S = 5.0
"""How long a camera may take; then the answer is 502."""

SNAPSHOT_KEPT_S = 3.0
"""For so long a picture, or that there is none, is told to all who ask: no camera is asked again sooner."""

SNAPSHOTS_BYTES_MAX = 64 * 1024 * 1024
"""Pictures that are kept, in all; of more the oldest goes, and whoever wants it waits until it may be asked for."""

CAMERAS_ASKED_MAX = 16
"""Cameras that are asked at a time. Others wait, for as long as a camera may take; then the answer is 502."""

PICTURES = ("image/jpeg", "image/png", "image/webp", "image/gif")
"""What a picture may be. An SVG may hold scripts."""

GZIP_BYTES_MIN = 512
PACKED_MAX = 64
"""Layers that are kept compressed; of more the one unused for longest is compressed again."""


class LayerView(Struct, frozen=True, kw_only=True):
    """A layer that one may see. `title` and `snapshot` name properties of its features.

    The property `snapshot` holds the address of a picture of what is there now, relative to this origin. `tag`
    changes with the content.
    """

    id: str
    names: dict[str, str]
    public: bool
    roles: list[str]
    colour: str
    icon: Icon
    title: str | None
    snapshot: str | None
    shown: bool
    features: int
    tag: str


class LayerList(Struct, frozen=True):
    """Layers in the order of the site pack."""

    items: list[LayerView]


ANSWERS: tuple[type[Struct], ...] = (LayerList,)
"""What OpenAPI describes of these routes."""


class _Picture(Struct, frozen=True):
    body: bytes
    media_type: str


class _Failure(Struct, frozen=True):
    """Why there is no picture. Unlike an error it can be told to many."""

    reason: str
    body: bytes = b""


def layer_routes(config: DashboardConfig, http: httpx.AsyncClient | None = None) -> APIRouter:
    """The routes under /v1/layers. The site may change from one request to the next."""
    packed: OrderedDict[str, bytes] = OrderedDict()
    pictures = Pictures(http)

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncGenerator[None]:
        yield
        await pictures.close()

    router = APIRouter(prefix="/v1/layers", tags=["dashboard"], lifespan=lifespan)

    @router.get("", **described(LayerList))
    async def read_layers(viewer: Viewer, _: Annotated[NoQuery, Query()]) -> Response:
        """The layers that one may see."""
        site = config.site
        items = [_view(one) for one in site.layers.values() if _may_see(site, viewer, one)]
        return Response(msgspec.json.encode(LayerList(items)), media_type="application/json")

    @router.get("/{id}", response_model=None, responses={404: {"description": "There is none, or not for you"}})
    async def read_layer(id: str, viewer: Viewer, request: Request) -> Response:  # noqa: A002  # its name in the address
        """The features of a layer as GeoJSON (RFC 7946)."""
        layer = _known(config.site, viewer, id)
        headers = {
            "ETag": f'"{layer.tag}"',
            "Vary": "Accept-Encoding, Authorization, Cookie",
            # One who may not see it any more must not be shown what a cache has.
            "Cache-Control": "private, no-cache",
        }
        known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
        if headers["ETag"] in known:
            return Response(status_code=304, headers=headers)
        body = layer.content
        if len(body) >= GZIP_BYTES_MIN and "gzip" in request.headers.get("accept-encoding", ""):
            if layer.tag not in packed:
                packed[layer.tag] = await asyncio.to_thread(gzip.compress, body, 6, mtime=0)
            packed.move_to_end(layer.tag)
            body = packed[layer.tag]
            headers["Content-Encoding"] = "gzip"
            while len(packed) > PACKED_MAX:
                packed.popitem(last=False)
        return Response(body, media_type="application/geo+json", headers=headers)

    @router.get(
        "/{id}/snapshots/{number}",
        response_model=None,
        responses={404: {"description": "There is none"}, 502: {"description": "The camera gives no picture"}},
    )
    async def read_snapshot(id: str, number: int, viewer: Viewer) -> Response:  # noqa: A002  # its name in the address
        """The picture of a feature as it is now."""
        address = _known(config.site, viewer, id).snapshots.get(number)
        if address is None:
            raise Refused("number", RefusalReason.INVALID, "it has no picture", "Read the layer again.", status=404)
        picture = await pictures.read(address)
        headers = {
            "Cache-Control": "private, no-store",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        return Response(picture.body, media_type=picture.media_type, headers=headers)

    return router


class Pictures:
    """Asks cameras, one request at a time for each, and none more often than every SNAPSHOT_KEPT_S."""

    def __init__(self, http: httpx.AsyncClient | None) -> None:
        self._given = http
        self._own: httpx.AsyncClient | None = None
        self._room = asyncio.Semaphore(CAMERAS_ASKED_MAX)
        self._kept: OrderedDict[str, _Picture | _Failure] = OrderedDict()
        self._kept_bytes = 0
        # When each address may be asked again, the soonest first: also of those whose picture is not kept any more.
        self._again_s: OrderedDict[str, float] = OrderedDict()
        self._asked: dict[str, asyncio.Task[_Picture | _Failure]] = {}

    async def read(self, address: str) -> _Picture:
        """The picture at an address. Raises Refused."""
        self._forget()
        found = self._kept.get(address)
        if found is None:
            task = self._asked.get(address)
            if task is None:
                task = self._asked[address] = asyncio.create_task(self._ask(address))
                task.add_done_callback(lambda _: self._asked.pop(address, None))
            # Whoever goes away must not take the picture from those who wait for it too.
            found = await asyncio.shield(task)
        if isinstance(found, _Failure):
            raise _no_picture(found.reason)
        return found

    async def close(self) -> None:
        """Ends the connections."""
        if self._own is not None:
            await self._own.aclose()
            self._own = None

    async def _ask(self, address: str) -> _Picture | _Failure:
        await asyncio.sleep(max(0.0, self._again_s.get(address, 0.0) - time.monotonic()))
        try:
            async with asyncio.timeout(SNAPSHOT_WAIT_S):
                await self._room.acquire()
        except TimeoutError:
            return _Failure("too many others are being asked")
        try:
            found = await self._fetch(address)
        finally:
            self._room.release()
        self._keep(address, found)
        return found

    def _keep(self, address: str, found: _Picture | _Failure) -> None:
        self._drop(address)
        self._kept[address] = found
        self._kept_bytes += len(found.body)
        self._again_s[address] = time.monotonic() + SNAPSHOT_KEPT_S
        self._again_s.move_to_end(address)
        while self._kept_bytes > SNAPSHOTS_BYTES_MAX:
            self._drop(next(iter(self._kept)))

    def _forget(self) -> None:
        """Forgets what is too old to be told. As many addresses are known as were asked in the last seconds."""
        now_s = time.monotonic()
        while self._again_s and next(iter(self._again_s.values())) <= now_s:
            address, _ = self._again_s.popitem(last=False)
            self._drop(address)

    def _drop(self, address: str) -> None:
        found = self._kept.pop(address, None)
        self._kept_bytes -= 0 if found is None else len(found.body)

    def _http(self) -> httpx.AsyncClient:
        """One client for all cameras: to make one takes as long as hundreds of requests."""
        if self._given is not None:
            return self._given
        if self._own is None:
            # No redirects: the pack names the camera, and nobody else says where the centre looks. No cookies, for
            # those of many cameras would pile up, and no idle connections, for cameras have few.
            self._own = httpx.AsyncClient(
                timeout=SNAPSHOT_WAIT_S,
                trust_env=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                limits=httpx.Limits(max_connections=CAMERAS_ASKED_MAX, max_keepalive_connections=0),
            )
        return self._own

    async def _fetch(self, address: str) -> _Picture | _Failure:
        try:
            async with asyncio.timeout(SNAPSHOT_WAIT_S):
                return await self._read(address)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return _Failure(type(error).__name__)

    async def _read(self, address: str) -> _Picture | _Failure:
        async with self._http().stream("GET", address, headers={"Accept-Encoding": "identity"}) as answer:
            media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            if answer.status_code != 200:
                return _Failure(f"it answers {answer.status_code}")
            if media_type not in PICTURES:
                return _Failure(f"what it sends is {media_type or 'of no type'}, and no picture")
            # What is packed may be a thousand times as long as what has come.
            if answer.headers.get("content-encoding", "identity").strip().lower() != "identity":
                return _Failure("it sends its picture packed, unasked")
            body = bytearray()
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > SNAPSHOT_BYTES_MAX:
                    return _Failure(f"its picture has more than {SNAPSHOT_BYTES_MAX} bytes")
        return _Picture(bytes(body), media_type)


def _no_picture(reason: str) -> Refused:
    fix = "Look whether the camera runs; an administrator can correct its address in the layer's file."
    return Refused("snapshot", RefusalReason.INVALID, f"the camera gives no picture: {reason}", fix, status=502)


def _may_see(site: Site, viewer: Actor, layer: SiteLayer) -> bool:
    return may_see_layer(viewer, layer.layer, is_open=not site.people)


def _known(site: Site, viewer: Actor, id_: str) -> SiteLayer:
    layer = site.layers.get(id_)
    if layer is None or not _may_see(site, viewer, layer):
        fix = "See GET /v1/layers; some are for those who sign in."
        raise Refused("id", RefusalReason.INVALID, f"there is no layer {id_!r} for you", fix, status=404)
    return layer


def _view(layer: SiteLayer) -> LayerView:
    declared = layer.layer
    return LayerView(
        id=declared.id,
        names=declared.names,
        public=declared.public,
        roles=[role.value for role in declared.roles],
        colour=declared.colour,
        icon=declared.icon,
        title=declared.title,
        snapshot=declared.snapshot,
        shown=declared.shown,
        features=layer.features,
        tag=layer.tag,
    )
