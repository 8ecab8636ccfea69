"""What can an administrator see and change through the web? The routes under `/v1/admin/`.

| request                                  | answers                                                     |
| ---------------------------------------- | ----------------------------------------------------------- |
| `GET  /v1/admin/pack`                    | the site pack's files, its version, whether it is in force  |
| `GET  /v1/admin/pack/files/{name}`       | the text of one file                                        |
| `POST /v1/admin/entries`                 | the entries of a file's text                                |
| `POST /v1/admin/edit`                    | a file's text with one entry changed                        |
| `POST /v1/admin/preview`                 | what a change would do, and what is wrong with it           |
| `POST /v1/admin/changes`                 | changes the pack                                            |
| `GET  /v1/admin/changes`                 | what was changed by whom, the newest first                  |
| `GET  /v1/admin/changes/{number}`        | one change with its difference                              |
| `POST /v1/admin/changes/{number}/revert` | takes a change back by a new one                            |
| `GET  /v1/admin/health`                  | whether the centre is well, and what to do                  |
| `GET  /v1/admin/letters`                 | dead letters                                                |
| `POST /v1/admin/letters/redrive`         | sends those again that can be read now, or a repaired one   |
| `GET  /v1/admin/outbox`                  | messages that wait or were given up                         |
| `POST /v1/admin/outbox/retry`            | tries again what was given up                               |

All of it is for the role `administrator`. Where the pack declares no people, everyone who reaches the centre may
look, and nobody may change anything: a pack that anybody may rewrite would be one that nobody can trust.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar, cast

import msgspec
from fastapi import FastAPI
from msgspec import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from dashboard_api.guard import SIGN_IN, Guard
from dashboard_api.problem import CONTENT_TYPE, Problem, answer_problems
from deploy.admin import entry, letters
from deploy.admin.database import fetch
from deploy.admin.health import Looking, Readiness, health
from deploy.admin.history import Change, text_hash, version_of
from deploy.admin.letters import Repaired
from deploy.admin.pack_folder import Author, PackFolder, check_files
from deploy.admin.preview import (
    Around,
    FileDiff,
    MistakeView,
    Preview,
    diffs_of,
    judged,
    mistake_view,
    preview,
    site_of,
)
from deploy.admin.refusal import AdminReason, AdminRefused
from deploy.site import whole_pack
from deploy.site_folder import LoadedPack
from schemas.command import Actor
from schemas.credential import check_not_foreign
from schemas.errors import AccessReason, AccessRefused, DependencyUnavailable, OperatorError, SiteError
from schemas.identity import Role
from schemas.kpi_table import KPIS_FILE
from schemas.site import Site
from schemas.token import Trust
from streams.repair.history import Places
from streams.store.outbox import Outbox

PATH = "/v1/admin"

BODY_BYTES_MAX = 32 * 1024 * 1024
"""A longer request is refused with 413."""

TEXT_BYTES_SENT_MAX = 256 * 1024
"""`GET /v1/admin/pack` sends texts up to this length; longer ones are asked for by themselves."""

CHANGES_SHOWN_MAX = 200
"""Changes that are listed, the newest first."""

UNSENT_SHOWN_MAX = 200
"""Messages that are listed, the oldest first."""

FINISH_EVERY_S = 10.0
"""Between two looks for a change that is in force and not written down."""

_T = TypeVar("_T")
_log = logging.getLogger("ioc.admin")


class AdminConfig(Struct, frozen=True, kw_only=True):
    """All that `create_admin` needs.

    `loaded` is the pack in force in this process, `problem` why the one on disk is not; `address` is where events are
    sent to, `readiness` what `/readyz` knows.
    """

    pack: PackFolder
    loaded: Callable[[], LoadedPack]
    problem: Callable[[], str]
    places: Places
    trust: Trust | None
    public_url: str
    address: str
    readiness: Readiness
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    own_issuer: bool = True


class FileView(Struct, frozen=True, kw_only=True):
    """A file of the pack. `text` is None where it is long; `table` is what its entries are, if they have forms."""

    name: str
    size: int
    hash: str
    text: str | None
    table: str | None


class PackView(Struct, frozen=True, kw_only=True):
    """The site pack on disk. `is_in_force` is about this process; the others follow within the same seconds."""

    folder: str
    version: str
    files: list[FileView]
    is_in_force: bool
    problem: str
    may_change: bool
    why_not: str
    fix: str
    mistakes: list[MistakeView]


class _Wanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    files: dict[str, str | None]
    base: str = ""
    why: str = ""


class _Reverting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    base: str = ""
    why: str = ""
    dry_run: bool = False


class _Text(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    file: str
    text: str


class _Edited(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    file: str
    text: str
    id: str | None = None
    edits: list[entry.Edit] = []
    remove: bool = False


class _Redrive(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: str | None = None
    repaired: Repaired | None = None


class ChangeList(Struct, frozen=True, kw_only=True):
    """Changes, the newest first. `broken_at` is the first one that was altered since it was written; none: None."""

    items: list[Change]
    total: int
    broken_at: int | None


class ChangeView(Struct, frozen=True, kw_only=True):
    """One change with what it did."""

    change: Change
    diffs: list[FileDiff]


def create_admin(config: AdminConfig) -> FastAPI:
    """The app, to be mounted at PATH. Its lifespan has to be run: it ends what a killed process has left."""
    admin = _Admin(config)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        await admin.finish()
        finishing = asyncio.create_task(admin.go_on_finishing())
        yield
        finishing.cancel()
        with suppress(asyncio.CancelledError):
            await finishing

    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    answer_problems(app)
    app.add_exception_handler(AdminRefused, _refused)
    app.add_exception_handler(OperatorError, _not_possible)
    app.add_exception_handler(DependencyUnavailable, _away)
    app.add_exception_handler(SiteError, _wrong_pack)
    for path, method, handler in (
        ("/pack", "GET", admin.read_pack),
        ("/pack/files/{name}", "GET", admin.read_file),
        ("/entries", "POST", admin.read_entries),
        ("/edit", "POST", admin.edit),
        ("/preview", "POST", admin.preview),
        ("/changes", "POST", admin.change),
        ("/changes", "GET", admin.read_changes),
        ("/changes/{number:int}", "GET", admin.read_change),
        ("/changes/{number:int}/revert", "POST", admin.revert),
        ("/health", "GET", admin.read_health),
        ("/letters", "GET", admin.read_letters),
        ("/letters/redrive", "POST", admin.redrive),
        ("/outbox", "GET", admin.read_outbox),
        ("/outbox/retry", "POST", admin.retry),
    ):
        app.add_route(path, handler, methods=[method])
    return app


class _Admin:
    def __init__(self, config: AdminConfig) -> None:
        self._config = config
        self._pack = config.pack
        self._guard = Guard(lambda: config.loaded().site, config.now, config.trust)
        # Checking a pack of a whole country takes a second of a core, and so may the entries of a long text: one at a
        # time leaves the boards theirs.
        self._checking = asyncio.Semaphore(1)
        # Apart from it: a log that is slow must not keep anybody from a change.
        self._reading_letters = asyncio.Semaphore(1)
        self._redriving = asyncio.Lock()
        self._present: tuple[str, Site | None] = ("", None)

    async def finish(self) -> None:
        """Ends what a killed process has left; a folder that cannot be written to must not stop the start."""
        try:
            await asyncio.to_thread(self._pack.finish)
        except AdminRefused as refused:
            if refused.reason is not AdminReason.BUSY:
                _log.error("a change of the site pack was left unfinished, and cannot be ended: %s", refused)
        except OSError as error:
            _log.error("the site pack's folder cannot be looked into: %s", error)

    async def go_on_finishing(self) -> None:
        """Ends what the disk did not take when it was made."""
        while True:
            await asyncio.sleep(FINISH_EVERY_S)
            await self.finish()

    async def read_pack(self, request: Request) -> Response:
        """The files."""
        actor = await self._looking(request)
        texts = await asyncio.to_thread(self._pack.texts)
        refused = self._may_change(actor)
        loaded = self._config.loaded()
        try:
            is_in_force = dict(whole_pack(texts, self._pack.folder)) == dict(loaded.pack)
            mistakes: list[SiteError] = []
        except SiteError as error:
            is_in_force, mistakes = False, [error]
        return _json(
            PackView(
                folder=str(self._pack.folder),
                version=version_of(texts),
                files=[
                    FileView(
                        name=name,
                        size=(size := len(text.encode())),
                        hash=text_hash(text),
                        text=text if size <= TEXT_BYTES_SENT_MAX else None,
                        table=entry.TABLES.get(name),
                    )
                    for name, text in texts.items()
                ],
                is_in_force=is_in_force,
                problem="" if is_in_force else self._config.problem(),
                may_change=refused is None,
                why_not="" if refused is None else refused.detail,
                fix="" if refused is None else refused.fix,
                mistakes=[mistake_view(one) for one in mistakes],
            )
        )

    async def read_file(self, request: Request) -> Response:
        """The text of one file."""
        await self._looking(request)
        name = str(request.path_params["name"])
        text = (await asyncio.to_thread(self._pack.texts)).get(name)
        if text is None:
            detail, fix = f"the pack has no file {name[:100]!r}", "See GET /v1/admin/pack."
            raise AdminRefused("name", AdminReason.UNKNOWN_FILE, detail, fix, status=404)
        return Response(text, media_type="text/plain", headers={"Cache-Control": "no-store"})

    async def read_entries(self, request: Request) -> Response:
        """The entries of a text."""
        await self._looking(request)
        given = await _body(request, _Text)
        async with self._checking:
            return _json({"items": await asyncio.to_thread(entry.entries, given.file, given.text)})

    async def edit(self, request: Request) -> Response:
        """A text with an entry changed. Nothing is written."""
        await self._looking(request)
        given = await _body(request, _Edited)
        if given.remove and given.id is not None:
            work = partial(entry.removed, given.file, given.text, given.id)
        else:
            work = partial(entry.edited, given.file, given.text, given.id, given.edits)
        async with self._checking:
            return _json({"text": await asyncio.to_thread(work)})

    async def preview(self, request: Request) -> Response:
        """What a change would do."""
        actor = await self._looking(request)
        given = await _body(request, _Wanted)
        return _json(await self._previewed(actor, given.files))

    async def change(self, request: Request) -> Response:
        """Changes the pack."""
        actor = await self._changing(request)
        given = await _body(request, _Wanted)
        return _json(await self._apply(actor, given.base, given.files, given.why), 201)

    async def read_changes(self, request: Request) -> Response:
        """What was changed."""
        await self._looking(request)
        return _json(await asyncio.to_thread(self._changes))

    async def read_change(self, request: Request) -> Response:
        """One change."""
        await self._looking(request)
        return _json(await asyncio.to_thread(self._one_change, int(request.path_params["number"])))

    async def revert(self, request: Request) -> Response:
        """Takes a change back, or with `dry_run` says what that would do."""
        actor = await self._changing(request)
        number = int(request.path_params["number"])
        given = await _body(request, _Reverting)
        files = await asyncio.to_thread(self._pack.put_back, number)
        if given.dry_run:
            return _json(await self._previewed(actor, files))
        return _json(await self._apply(actor, given.base, files, given.why, reverts=number), 201)

    async def read_health(self, request: Request) -> Response:
        """Whether the centre is well."""
        await self._looking(request)
        config = self._config
        looking = Looking(
            places=config.places,
            data_dir=self._pack.history.folder.parent,
            public_url=config.public_url,
            readiness=config.readiness,
            now=config.now,
            pack_problem=config.problem,
            history_broken_at=self._pack.history.broken_at,
        )
        return _json(await health(looking))

    async def read_letters(self, request: Request) -> Response:
        """Dead letters."""
        await self._looking(request)
        async with self._reading_letters:
            return _json(await letters.read_all(self._config.places, self._config.now()))

    async def redrive(self, request: Request) -> Response:
        """Sends letters again."""
        await self._changing(request)
        given = await _body(request, _Redrive)
        places, address = self._config.places, self._config.address
        if self._redriving.locked():
            detail, fix = "letters are being sent already", "Wait until that has ended."
            raise AdminRefused("$", AdminReason.BUSY, detail, fix, status=409)
        async with self._redriving:
            if given.repaired is not None:
                outcome = await letters.send_repaired(places, address, given.repaired)
            else:
                outcome = await letters.send_again(places, address, given.reason)
        return _json(outcome)

    async def read_outbox(self, request: Request) -> Response:
        """What is not sent."""
        await self._looking(request)
        outbox = Outbox(self._config.places.database_url)
        try:
            backlog, unsent = await outbox.backlog(), await outbox.unsent(UNSENT_SHOWN_MAX)
        finally:
            await outbox.close()
        return _json({"backlog": backlog, "items": unsent})

    async def retry(self, request: Request) -> Response:
        """Tries again what was given up."""
        await self._changing(request)
        outbox = Outbox(self._config.places.database_url)
        try:
            return _json({"retried": await outbox.retry()})
        finally:
            await outbox.close()

    async def _looking(self, request: Request) -> Actor:
        """Who asks. Raises AccessRefused for anyone but an administrator."""
        check_not_foreign(request.method, request.scope["headers"])
        sign_in = await self._guard.sign_in_of(request)
        actor = self._guard.actor(sign_in)
        if not self._config.loaded().site.people:
            return actor
        if sign_in.subject is None:
            raise AccessRefused(AccessReason.NOT_SIGNED_IN, "this needs a sign-in", SIGN_IN)
        if Role.ADMINISTRATOR not in actor.roles:
            detail = "this needs the role administrator"
            raise AccessRefused(AccessReason.NOT_ALLOWED, detail, "Ask somebody who has it.")
        return actor

    async def _changing(self, request: Request) -> Actor:
        actor = await self._looking(request)
        if not self._config.loaded().site.people:
            detail = "this site pack declares no people, so it is not known who changes it"
            fix = "Add a people.toml with an administrator to the pack's folder, and restart the centre."
            raise AdminRefused("$", AdminReason.NO_PEOPLE, detail, fix, status=403)
        return actor

    def _may_change(self, _: Actor) -> AdminRefused | None:
        if not self._config.loaded().site.people:
            detail = "the site pack declares no people, so it is not known who changes it"
            fix = "Add a people.toml with an administrator to the pack's folder, and restart the centre."
            return AdminRefused("$", AdminReason.NO_PEOPLE, detail, fix)
        return self._pack.read_only()

    async def _previewed(self, actor: Actor, files: Mapping[str, str | None]) -> Preview:
        check_files(files)
        around = await self._around(actor)

        def work() -> Preview:
            before, after = self._pack.change_of(files)
            return preview(before, after, self._pack.folder, self._site(self._pack.texts()), around)

        async with self._checking:
            return await asyncio.to_thread(work)

    async def _apply(
        self, actor: Actor, base: str, files: Mapping[str, str | None], why: str, *, reverts: int | None = None
    ) -> Change:
        config = self._config
        around = await self._around(actor)
        person = config.loaded().site.people[actor.id]
        author = Author(who=actor.id, name=person.name, why=why, at=config.now().astimezone(UTC))

        def check(texts: Mapping[str, str]) -> list[SiteError]:
            return judged(texts, self._pack.folder, self._site(self._pack.texts()), around)[1]

        async with self._checking:
            # To its end, also when whoever asked has gone away.
            work = asyncio.create_task(
                asyncio.to_thread(self._pack.apply, base, files, author, check, reverts=reverts)
            )
            change = await asyncio.shield(work)
        names = ", ".join(file.name for file in change.files)
        _log.info("%s has changed the site pack (%s): %s", actor.id, names, change.why)
        return change

    async def _around(self, actor: Actor) -> Around:
        """What of the running centre decides; a database that is away leaves the rest to be told."""
        config = self._config
        past, at_work = [config.loaded().pack[KPIS_FILE]], {}
        try:
            rows = await fetch(config.places.database_url, "read_catalogues", KPIS_FILE)
            past += [row["kpis"] for row in rows if row["kpis"] is not None]
            at_work = {row["unit"]: row["cases"] for row in await fetch(config.places.database_url, "read_at_work")}
        except DependencyUnavailable as error:
            _log.warning("a change is checked without what was counted before: %s", error)
        return Around(who=actor.id, past=past, at_work=at_work, own_issuer=config.own_issuer)

    def _site(self, texts: Mapping[str, str]) -> Site | None:
        """What the files on disk mean; where they are wrong, what is in force."""
        version = version_of(texts)
        if self._present[0] != version:
            loaded = self._config.loaded()
            try:
                is_loaded = dict(whole_pack(texts, self._pack.folder)) == dict(loaded.pack)
                site = loaded.site if is_loaded else site_of(texts, self._pack.folder)
            except SiteError:
                return loaded.site
            self._present = (version, site)
        return self._present[1]

    def _changes(self) -> ChangeList:
        history = self._pack.history
        numbers = history.numbers()
        broken_at = history.broken_at()
        shown = [n for n in reversed(numbers) if broken_at is None or n < broken_at][:CHANGES_SHOWN_MAX]
        return ChangeList(items=[history.read(n) for n in shown], total=len(numbers), broken_at=broken_at)

    def _one_change(self, number: int) -> ChangeView:
        history = self._pack.history
        change = history.read(number)
        texts = {one.name: (history.text(one.before), history.text(one.after)) for one in change.files}
        return ChangeView(change=change, diffs=diffs_of(texts))


async def _body(request: Request, cls: type[_T]) -> _T:
    """The request's JSON. Raises AdminRefused."""
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > BODY_BYTES_MAX:
                detail = f"the request has more than {BODY_BYTES_MAX} bytes"
                raise AdminRefused("$", AdminReason.TOO_LARGE, detail, "Change fewer files at once.", status=413)
    except ClientDisconnect:
        raise AdminRefused("$", AdminReason.MALFORMED, "the request was broken off", "Send it again.") from None
    try:
        return await asyncio.to_thread(msgspec.json.decode, bytes(body), type=cls)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        detail, fix = str(error) or type(error).__name__, "See docs/administration.md."
        raise AdminRefused("$", AdminReason.MALFORMED, detail, fix) from None


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, {"Cache-Control": "no-store"}, "application/json")


def _problem(status: int, detail: str, field: str | None, reason: str, fix: str, **more: object) -> Response:
    problem = Problem(
        type=f"urn:ioc:problem:{reason}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        field=field,
        reason=reason,
        fix=fix,
    )
    body = cast("dict[str, Any]", msgspec.to_builtins(problem)) | more
    return Response(msgspec.json.encode(body), status, {"Cache-Control": "no-store"}, CONTENT_TYPE)


async def _refused(_: Request, error: Exception) -> Response:
    refused = cast("AdminRefused", error)
    more = {"mistakes": [mistake_view(one) for one in refused.mistakes]} if refused.mistakes else {}
    return _problem(refused.status, refused.detail, refused.field, refused.reason.value, refused.fix, **more)


async def _not_possible(_: Request, error: Exception) -> Response:
    wrong = cast("OperatorError", error)
    return _problem(409, wrong.what, None, AdminReason.NOT_POSSIBLE.value, wrong.remedy)


async def _away(_: Request, error: Exception) -> Response:
    away = cast("DependencyUnavailable", error)
    fix = f"Try again in {away.retry_after_s} s; the health page says what is away."
    return _problem(503, str(away), None, f"{away.dependency}_away", fix)


async def _wrong_pack(_: Request, error: Exception) -> Response:
    wrong = cast("SiteError", error)
    more = {"mistakes": [mistake_view(wrong)]}
    return _problem(422, f"{wrong.position}: {wrong.reason}", wrong.file, "mistakes", wrong.fix, **more)
