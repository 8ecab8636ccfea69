"""How is a site pack on disk changed, all of it or nothing, by one at a time, and so that it can be put back?

A change is checked as a whole before anything is written. Its files are written beside the pack, and come into force
together when their folder gets its name (`deploy.admin.pending`); then they are moved in. Whoever is killed before
that moment has changed nothing, and what was begun after it the next one finishes.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from deploy.admin.history import Change, FileChange, History, sync_folder, version_of, write_whole
from deploy.admin.pending import NOTE_FILE, PENDING, clear
from deploy.admin.refusal import AdminReason, AdminRefused
from deploy.admin.text_change import taken_back
from deploy.site import SHIPPED, read_folder, read_text
from schemas.errors import SiteError
from schemas.layer import LAYERS_FILE, is_layer_file, layer_files
from schemas.site import OPTIONAL_FILES, REQUIRED_FILES

FILE_BYTES_MAX = 16 * 1024 * 1024
"""A longer file is refused."""

WHY_CHARS_MAX = 500
"""A longer reason is refused."""

LOCK_WAIT_S = 10.0
"""How long another change is waited for; then this one is refused."""

LOCK_POLL_S = 0.05

FINISH_TRIES = 3
"""How often a change that is in force is tried to be moved in; then the next who comes does it."""

FINISH_PAUSE_S = 0.1
STAGED = ".ioc-change.partial"
PACK_FILE_MODE = 0o644

Texts = Mapping[str, str]


class Author(Struct, frozen=True, kw_only=True):
    """Who changes something, when and why."""

    who: str
    name: str
    why: str
    at: datetime


class _Note(Struct, frozen=True, kw_only=True):
    names: dict[str, bool]
    change: Change


class PackFolder:
    """A site pack's folder, and the history of its changes below a data folder."""

    def __init__(self, folder: Path, data_dir: Path, *, moved: Callable[[str], None] = lambda _: None) -> None:
        """`moved` is called after each file that a change has moved in."""
        self.folder = folder
        self.history = History(data_dir)
        self._moved = moved

    def texts(self) -> Texts:
        """The texts of the pack's files by name. Raises SiteError."""
        return read_folder(self.folder)

    def change_of(self, files: Mapping[str, str | None]) -> tuple[Texts, Texts]:
        """The texts before and after a change. Raises SiteError.

        There is also what lies under a name that is no layer's file before the change: it must not be overwritten
        unread, and may be a layer's file from now on.
        """
        before = dict(self.texts())
        layers = layer_files(changed(before, files).get(LAYERS_FILE, ""))
        before |= self._undeclared({*files, *layers} - before.keys())
        return before, changed(before, files)

    def read_only(self) -> AdminRefused | None:
        """Why this pack cannot be changed here; None where it can."""
        if self.folder.resolve().parent == SHIPPED.resolve():
            detail = "this site pack came with the program and is replaced when the program is upgraded"
            fix = "Run `ioc site copy FOLDER`, set IOC_SITE to that folder, and start the centre again."
        elif not os.access(self.folder, os.W_OK | os.X_OK):
            detail = f"the centre's processes may not write to {self.folder}"
            fix = "Give their account the right to, or set IOC_SITE to a folder of its own."
        else:
            return None
        return AdminRefused("files", AdminReason.READ_ONLY, detail, fix, status=409)

    def apply(
        self,
        base: str,
        files: Mapping[str, str | None],
        author: Author,
        check: Callable[[Texts], list[SiteError]],
        *,
        reverts: int | None = None,
    ) -> Change:
        """Changes the pack. `base` is the version that whoever asks has seen, `check` all that is wrong with texts.

        Raises AdminRefused: nothing was changed then, unless the reason is NOT_WRITTEN_DOWN. Raises SiteError.
        """
        if (refused := self.read_only()) is not None:
            raise refused
        if not author.why.strip() or len(author.why) > WHY_CHARS_MAX:
            detail = f"the reason has {len(author.why)} characters" if author.why.strip() else "there is no reason"
            fix = f"Say in 1 to {WHY_CHARS_MAX} characters why: whoever wants to put it back will ask."
            raise AdminRefused("why", AdminReason.NO_REASON, detail, fix)
        check_files(files)
        with self.held():
            before, after = self.change_of(files)
            if (present := version_of(of_pack(before))) != base:
                detail = f"the pack has changed since: it is at version {present[:12]}"
                fix = "Read it again, look at what is new, and make the change once more."
                raise AdminRefused("base", AdminReason.STALE, detail, fix, status=409)
            touched = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
            if not touched:
                raise AdminRefused("files", AdminReason.NO_CHANGE, "nothing would be different", "Change something.")
            if mistakes := check(after):
                detail = f"the pack would be wrong in {len(mistakes)} places"
                fix = "Mend them; POST /v1/admin/preview tells all."
                raise AdminRefused("files", AdminReason.MISTAKES, detail, fix, mistakes=tuple(mistakes))
            return self._write(before, after, touched, author, reverts)

    def put_back(self, number: int) -> dict[str, str | None]:
        """The files that take a change back from the pack as it is now. Raises AdminRefused."""
        files: dict[str, str | None] = {}
        change = self.history.read(number)
        now, _ = self.change_of({file.name: None for file in change.files})
        for file in change.files:
            before, after = self.history.text(file.before), self.history.text(file.after)
            present = now.get(file.name)
            if present == before:
                continue
            if present == after:
                files[file.name] = before
                continue
            merged = None
            if before is not None and after is not None and present is not None:
                merged = taken_back(before, after, present)
            if merged is None:
                detail = f"{file.name} was changed again in the same place"
                fix = "Take back the later change first, or correct the file by hand."
                raise AdminRefused("number", AdminReason.OVERLAPS, detail, fix, status=409)
            files[file.name] = merged
        if not files:
            detail, fix = f"nothing of change {number} is left", "It was taken back already."
            raise AdminRefused("number", AdminReason.NO_CHANGE, detail, fix, status=409)
        return files

    def finish(self) -> None:
        """Moves in what is in force and not moved in yet. Raises AdminRefused when that cannot be done now."""
        if (self.folder / PENDING).exists() or (self.folder / STAGED).exists():
            with self.held():
                pass

    @contextmanager
    def held(self) -> Generator[None]:
        """Keeps everybody else from changing the pack, once all that was begun is moved in. Raises AdminRefused."""
        with self._alone():
            try:
                self._finish()
            except (OSError, msgspec.DecodeError) as error:
                detail = f"an earlier change is in force and cannot be moved in: {_words(error)}"
                fix = "Free space, and see that the centre may write to the pack's folder and to its data folder."
                raise AdminRefused("files", AdminReason.NOT_POSSIBLE, detail, fix, status=500) from error
            yield

    def write(self, name: str, text: str) -> None:
        """Replaces one file as a hand would, without the history. Whoever calls holds the lock. Raises OSError."""
        write_whole(self.folder / name, text.encode(), PACK_FILE_MODE)

    def _undeclared(self, names: Collection[str]) -> dict[str, str]:
        return {name: read_text(file) for name in names if (file := self.folder / name).is_file()}

    def _write(self, before: Texts, after: Texts, touched: list[str], author: Author, reverts: int | None) -> Change:
        staged = self.folder / STAGED
        try:
            files = tuple(
                FileChange(name, self.history.keep_text(before.get(name)), self.history.keep_text(after.get(name)))
                for name in touched
            )
            number, previous = self.history.next()
            change = Change(
                number=number,
                at=author.at,
                who=author.who,
                name=author.name,
                why=author.why.strip(),
                base=version_of(of_pack(before)),
                result=version_of(of_pack(after)),
                files=files,
                previous=previous,
                reverts=reverts,
            )
            staged.mkdir(mode=0o755)
            for name in touched:
                if (text := after.get(name)) is not None:
                    write_whole(staged / name, text.encode(), PACK_FILE_MODE)
            note = _Note(names={name: name in after for name in touched}, change=change)
            write_whole(staged / NOTE_FILE, msgspec.json.encode(note), PACK_FILE_MODE)
            staged.rename(self.folder / PENDING)
        except OSError as error:
            shutil.rmtree(staged, ignore_errors=True)
            detail, fix = f"the disk does not take it: {_words(error)}", "Free space, and look at the health page."
            raise AdminRefused("files", AdminReason.NOT_POSSIBLE, detail, fix, status=500) from error
        self._finish_now(change)
        return change

    def _finish_now(self, change: Change) -> None:
        """Moves in a change that is in force by now, whatever happens here."""
        for tries_left in reversed(range(FINISH_TRIES)):
            try:
                sync_folder(self.folder)
                self._finish()
            except OSError as error:
                if tries_left:
                    time.sleep(FINISH_PAUSE_S)
                    continue
                detail = f"change {change.number} is in force, and is not written down yet: {_words(error)}"
                fix = "Do not make it again: it is written down as soon as the disk takes it. Free space."
                raise AdminRefused("files", AdminReason.NOT_WRITTEN_DOWN, detail, fix, status=500) from error
            return

    def _finish(self) -> None:
        """Moves in the change that is in force already, and writes it down. Whoever calls holds the lock."""
        shutil.rmtree(self.folder / STAGED, ignore_errors=True)
        beside = self.folder / PENDING
        if not beside.exists():
            return
        note = msgspec.json.decode((beside / NOTE_FILE).read_bytes(), type=_Note)
        self.history.add(note.change)
        for name, is_there in note.names.items():
            target = self.folder / name
            if is_there:
                write_whole(target, (beside / name).read_bytes(), PACK_FILE_MODE)
            else:
                target.unlink(missing_ok=True)
            self._moved(name)
        sync_folder(self.folder)
        clear(beside)

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Holds the pack's lock: an open folder's, so that nothing lies in it, and a process that dies frees it."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            until_s = time.monotonic() + LOCK_WAIT_S
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until_s:
                        detail, fix = "another change is being written", "Try again in a moment."
                        raise AdminRefused("files", AdminReason.BUSY, detail, fix, status=409) from None
                    time.sleep(LOCK_POLL_S)
            yield
        finally:
            os.close(descriptor)


def check_files(files: Mapping[str, str | None]) -> None:
    """Raises AdminRefused for what is no file of a pack, or too long for one."""
    for name, text in files.items():
        if name not in (*REQUIRED_FILES, *OPTIONAL_FILES) and not is_layer_file(name):
            detail = f"{name[:100]!r} is no file of a site pack"
            fix = f"Use {', '.join((*REQUIRED_FILES, *OPTIONAL_FILES))}, or a layer's name such as cameras.geojson."
            raise AdminRefused("files", AdminReason.UNKNOWN_FILE, detail, fix)
        if text is not None and len(text.encode(errors="replace")) > FILE_BYTES_MAX:
            detail = f"{name} has more than {FILE_BYTES_MAX} bytes"
            raise AdminRefused("files", AdminReason.TOO_LARGE, detail, "Leave something out.", status=413)
        if text is not None and "\x00" in text:
            detail = f"{name} holds the NUL character"
            raise AdminRefused("files", AdminReason.MALFORMED, detail, "Leave it out.")


def changed(before: Texts, files: Mapping[str, str | None]) -> dict[str, str]:
    """The texts as they would be. A byte order mark is none of a text: nobody who reads the file finds it there."""
    after = {**before, **files}
    return {name: text.removeprefix("\ufeff") for name, text in after.items() if text is not None}


def of_pack(texts: Texts) -> Texts:
    """Of these texts those that whoever reads the pack finds."""
    names = (*REQUIRED_FILES, *OPTIONAL_FILES, *layer_files(texts.get(LAYERS_FILE, "")))
    return {name: texts[name] for name in names if name in texts}


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
