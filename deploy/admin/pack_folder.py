"""How is a site pack on disk changed, all of it or nothing, by one at a time, and so that it can be put back?

A change is checked as a whole before anything is written. Its files are written beside the pack, and come into force
together when their folder gets its name (`deploy.admin.pending`); then they are moved in. Whoever is killed before
that moment has changed nothing, and what was begun after it the next one finishes.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from deploy.admin.history import Change, FileChange, History, sync_folder, version_of, write_whole
from deploy.admin.pending import NOTE_FILE, PENDING, clear
from deploy.admin.refusal import AdminReason, AdminRefused
from deploy.admin.text_change import taken_back
from deploy.site import SHIPPED, read_folder
from schemas.errors import SiteError
from schemas.layer import is_layer_file
from schemas.site import OPTIONAL_FILES, REQUIRED_FILES

FILE_BYTES_MAX = 16 * 1024 * 1024
"""A longer file is refused."""

WHY_CHARS_MAX = 500
"""A longer reason is refused."""

LOCK_WAIT_S = 10.0
"""How long another change is waited for; then this one is refused."""

LOCK_POLL_S = 0.05
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

        Raises AdminRefused: nothing was changed then.
        """
        if (refused := self.read_only()) is not None:
            raise refused
        if not author.why.strip() or len(author.why) > WHY_CHARS_MAX:
            detail = f"the reason has {len(author.why)} characters" if author.why.strip() else "there is no reason"
            fix = f"Say in 1 to {WHY_CHARS_MAX} characters why: whoever wants to put it back will ask."
            raise AdminRefused("why", AdminReason.NO_REASON, detail, fix)
        check_files(files)
        with self._alone():
            self._finish()
            before = self.texts()
            if (present := version_of(before)) != base:
                detail = f"the pack has changed since: it is at version {present[:12]}"
                fix = "Read it again, look at what is new, and make the change once more."
                raise AdminRefused("base", AdminReason.STALE, detail, fix, status=409)
            after = changed(before, files)
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
        now = self.texts()
        files: dict[str, str | None] = {}
        for file in self.history.read(number).files:
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
        """Moves in what a process that was killed has left. Raises AdminRefused when somebody else is at it."""
        if (self.folder / PENDING).exists() or (self.folder / STAGED).exists():
            with self._alone():
                self._finish()

    def _write(self, before: Texts, after: Texts, touched: list[str], author: Author, reverts: int | None) -> Change:
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
                base=version_of(before),
                result=version_of(after),
                files=files,
                previous=previous,
                reverts=reverts,
            )
            staged = self.folder / STAGED
            staged.mkdir(mode=0o755)
            for name in touched:
                if (text := after.get(name)) is not None:
                    write_whole(staged / name, text.encode(), PACK_FILE_MODE)
            note = _Note(names={name: name in after for name in touched}, change=change)
            write_whole(staged / NOTE_FILE, msgspec.json.encode(note), PACK_FILE_MODE)
            staged.rename(self.folder / PENDING)
            sync_folder(self.folder)
            self._finish()
        except OSError as error:
            detail = f"the disk does not take it: {error.strerror or error}"
            raise AdminRefused(
                "files", AdminReason.NOT_POSSIBLE, detail, "Free space, and look at the health page.", status=500
            ) from error
        return change

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
                mode = target.stat().st_mode & 0o777 if target.exists() else PACK_FILE_MODE
                write_whole(target, (beside / name).read_bytes(), mode)
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
    """The texts as they would be."""
    after = {**before, **files}
    return {name: text for name, text in after.items() if text is not None}
