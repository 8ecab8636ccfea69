"""Is a site pack changed by an administrator alone, as a whole or not at all, and can every change be put back?"""

import asyncio
import errno
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.admin import app as admin_app
from deploy.admin.app import AdminConfig, create_admin
from deploy.admin.history import version_of
from deploy.admin.pack_folder import Author, PackFolder
from deploy.admin.pending import PENDING
from deploy.admin.refusal import AdminReason, AdminRefused
from deploy.site import SHIPPED, load_pack, read_folder
from deploy.site_folder import SiteFolder
from streams.repair.history import Places
from tests.dashboard.case_centre import PACK, PEOPLE_TOML, Issuer
from tests.faults.site import write_pack
from tests.schemas.test_layer import FILES as LAYERS

ADMINISTRATOR = """
# Looks after the centre.
[[person]]
id = "tri"
name = "Quản trị"
roles = ["administrator"]
areas = ["00"]
"""
FILES: Mapping[str, str] = {**PACK, "people.toml": PEOPLE_TOML + ADMINISTRATOR}
TARGET = "[[kpi.target]]\nvalue = 90"
NOW = datetime(2026, 5, 1, 8, tzinfo=UTC)


class Admin:
    """The administrator's app over a pack of its own, without a database behind it."""

    def __init__(
        self,
        folder: Path,
        files: Mapping[str, str] = FILES,
        site: Path | None = None,
        moved: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder = write_pack(files, folder / "site") if site is None else site
        self.data = folder / "data"
        self.site_folder = SiteFolder(self.folder, settle_s=0.0)
        self.issuer = Issuer(lambda: NOW)
        self.pack = PackFolder(self.folder, self.data, moved=moved)
        self.client = httpx.AsyncClient()

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator["Admin"]:
        """Until the block ends."""

        async def readiness() -> Mapping[str, Mapping[str, Any]]:
            return {"database": {"state": "away", "detail": "gone"}, "kafka": {"state": "up"}}

        app = create_admin(
            AdminConfig(
                pack=self.pack,
                loaded=lambda: self.site_folder.loaded,
                problem=lambda: self.site_folder.problem,
                places=Places(kafka="127.0.0.1:1", database_url="postgresql://nobody@127.0.0.1:1/none"),
                trust=self.issuer,
                public_url="http://centre",
                address="http://centre",
                readiness=readiness,
                now=lambda: NOW,
            )
        )
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://centre") as client,
        ):
            self.client = client
            yield self

    async def get(self, path: str, who: str | None = "tri") -> httpx.Response:
        """A question."""
        return await self.client.get(path, headers=self._header(who))

    async def post(self, path: str, who: str | None = "tri", **body: Any) -> httpx.Response:
        """Something that is wanted."""
        return await self.client.post(path, json=body, headers=self._header(who))

    async def version(self) -> str:
        """The pack's, as it is now."""
        return (await self.get("/pack")).json()["version"]

    async def change(self, files: Mapping[str, str | None], why: str = "a test") -> httpx.Response:
        """Changes the pack as it is now."""
        return await self.post("/changes", base=await self.version(), files=dict(files), why=why)

    def on_disk(self, name: str) -> str:
        """What a file holds."""
        return (self.folder / name).read_text(encoding="utf-8")

    def _header(self, who: str | None) -> dict[str, str]:
        return {} if who is None else self.issuer.header(who)


@asynccontextmanager
async def administration(folder: Path, **options: Any) -> AsyncGenerator[Admin]:
    """An app over a pack in this folder."""
    async with Admin(folder, **options).serving() as admin:
        yield admin


def kpis(old: str, new: str, text: str = FILES["kpis.toml"]) -> dict[str, str]:
    """The indicators with one thing changed."""
    assert old in text
    return {"kpis.toml": text.replace(old, new, 1)}


async def test_a_target_is_changed_taken_up_and_put_back(tmp_path: Path) -> None:
    async with administration(tmp_path) as admin:
        files = kpis(TARGET, "[[kpi.target]]\nvalue = 80")
        seen = (await admin.post("/preview", files=files)).json()
        assert seen["mistakes"] == []
        (changed,) = seen["changes"]
        assert (changed["kind"], changed["id"], changed["change"]) == ("kpi", "feedback_received", "changed")
        assert changed["fields"] == [{"key": "target.0.value", "before": 90.0, "after": 80.0}]
        assert [one["code"] for one in seen["effects"]] == ["kpi_shown_otherwise"]
        ((lines,),) = [one["diff"]["parts"] for one in seen["diffs"]]
        assert [(one["mark"], one["text"]) for one in lines if one["mark"] != " "] == [
            ("-", "value = 90"),
            ("+", "value = 80"),
        ]
        assert admin.on_disk("kpis.toml") == FILES["kpis.toml"]

        answer = await admin.change(files, "Nghị quyết 12")
        assert answer.status_code == 201, answer.text
        change = answer.json()
        assert (change["number"], change["who"], change["name"], change["why"]) == (
            1,
            "tri",
            "Quản trị",
            "Nghị quyết 12",
        )
        assert datetime.fromisoformat(change["at"]) == NOW
        assert admin.on_disk("kpis.toml") == files["kpis.toml"]
        assert not (await admin.get("/pack")).json()["is_in_force"]
        admin.site_folder.look()
        assert admin.site_folder.current().kpis["feedback_received"].target[0].value == 80
        assert (await admin.get("/pack")).json()["is_in_force"]

        would = (await admin.post("/changes/1/revert", dry_run=True)).json()
        assert would["changes"][0]["fields"] == [{"key": "target.0.value", "before": 80.0, "after": 90.0}]
        answer = await admin.post("/changes/1/revert", base=await admin.version(), why="nhầm")
        assert answer.json()["reverts"] == 1
        assert admin.on_disk("kpis.toml") == FILES["kpis.toml"]
        listed = (await admin.get("/changes")).json()
        assert [one["number"] for one in listed["items"]] == [2, 1]
        assert listed["broken_at"] is None
        shown = (await admin.get("/changes/1")).json()
        assert shown["diffs"][0]["name"] == "kpis.toml"
        again = await admin.post("/changes/1/revert", base=await admin.version(), why="nhầm")
        assert (again.status_code, again.json()["reason"]) == (409, "no_change")


async def test_a_pack_with_a_mistake_is_not_written(tmp_path: Path) -> None:
    async with administration(tmp_path) as admin:
        line = FILES["kpis.toml"].splitlines().index("value = 90") + 1
        files = kpis("value = 90\n", 'value = 90\nvalu = "x"\n') | {"units.toml": "[[unit]"}
        seen = (await admin.post("/preview", files=files)).json()
        found = {one["file"]: one for one in seen["mistakes"]}
        assert found["kpis.toml"]["line"] == line + 1
        assert "valu" in found["kpis.toml"]["reason"]
        assert found["kpis.toml"]["fix"]
        assert found["units.toml"]["line"] == 1
        answer = await admin.change(files)
        assert (answer.status_code, answer.json()["reason"]) == (422, "mistakes")
        assert {one["file"] for one in answer.json()["mistakes"]} == {"kpis.toml", "units.toml"}
        assert read_folder(admin.folder) == FILES
        assert (await admin.get("/changes")).json()["total"] == 0


@pytest.mark.parametrize(
    ("files", "file", "reason"),
    [
        pytest.param({"kpis.toml": ""}, "kpis.toml", "declares no indicator any more", id="no indicators"),
        pytest.param({"people.toml": None}, "people.toml", "it has gone", id="no people"),
        pytest.param({"people.toml": PEOPLE_TOML}, "people.toml", "administrator", id="no administrator"),
        pytest.param({"site.toml": None}, "site.toml", "does not exist", id="no site"),
        pytest.param(
            kpis('measure = "mean"\nvalue', 'measure = "percentile"\nq = 0.9\nvalue'),
            "kpis.toml",
            "do not merge",
            id="another kind of figures",
        ),
    ],
)
async def test_what_a_running_centre_would_not_take_up_is_a_mistake(
    tmp_path: Path, files: dict[str, str | None], file: str, reason: str
) -> None:
    async with administration(tmp_path) as admin:
        found = (await admin.post("/preview", files=files)).json()["mistakes"]
        assert found[0]["file"] == file
        assert reason in found[0]["reason"]
        assert (await admin.change(files)).status_code == 422
        assert read_folder(admin.folder) == FILES


async def test_who_has_not_seen_the_present_pack_changes_nothing(tmp_path: Path) -> None:
    async with administration(tmp_path) as admin:
        base = await admin.version()
        assert (await admin.change(kpis("value = 90", "value = 80"))).status_code == 201
        answer = await admin.post("/changes", base=base, files=kpis("value = 90", "value = 70"), why="late")
        assert (answer.status_code, answer.json()["reason"]) == (409, "stale")
        # A hand that edits the files is somebody else, too.
        base = await admin.version()
        (admin.folder / "units.toml").write_text(FILES["units.toml"] + "# a note\n")
        answer = await admin.post("/changes", base=base, files=kpis("value = 90", "value = 70"), why="late")
        assert answer.json()["reason"] == "stale"
        assert "value = 80" in admin.on_disk("kpis.toml")


async def test_of_two_that_change_at_once_one_is_told(tmp_path: Path) -> None:
    async with administration(tmp_path) as admin:
        base = await admin.version()
        answers = await asyncio.gather(
            *(
                admin.post("/changes", base=base, files=kpis("value = 90", f"value = {n}"), why=f"{n}")
                for n in (1, 2, 3)
            )
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
        (change,) = (await admin.get("/changes")).json()["items"]
        assert f"value = {change['why']}\n" in admin.on_disk("kpis.toml")


@pytest.mark.parametrize("who", ["olga", "lena", "ada", "uma"])
async def test_nobody_else_sees_or_changes_anything(tmp_path: Path, who: str) -> None:
    async with administration(tmp_path) as admin:
        routes = [("GET", "/pack"), ("GET", "/pack/files/people.toml"), ("GET", "/changes"), ("GET", "/changes/1")]
        routes += [("GET", "/health"), ("GET", "/letters"), ("GET", "/outbox"), ("POST", "/outbox/retry")]
        routes += [
            ("POST", path) for path in ("/preview", "/changes", "/changes/1/revert", "/letters/redrive", "/edit")
        ]
        routes += [("POST", "/entries")]
        for method, path in routes:
            answer = await (admin.get(path, who) if method == "GET" else admin.post(path, who))
            assert (answer.status_code, answer.json()["reason"]) == (403, "not_allowed"), path
            answer = await (admin.get(path, None) if method == "GET" else admin.post(path, None))
            assert (answer.status_code, answer.json()["reason"]) == (401, "not_signed_in"), path
        assert read_folder(admin.folder) == FILES


async def test_a_cookie_alone_changes_nothing(tmp_path: Path) -> None:
    async with administration(tmp_path) as admin:
        cookie = {"Cookie": f"ioc_session={admin.issuer.token('tri')}"}
        body = {"base": await admin.version(), "files": kpis("value = 90", "value = 80"), "why": "x"}
        answer = await admin.client.post("/changes", json=body, headers=cookie)
        assert (answer.status_code, answer.json()["reason"]) == (403, "cross_site")
        foreign = {**cookie, "IOC-Request": "1", "Origin": "http://elsewhere"}
        answer = await admin.client.post("/changes", json=body, headers=foreign)
        assert (answer.status_code, answer.json()["reason"]) == (403, "cross_site")
        answer = await admin.client.post("/changes", json=body, headers={**cookie, "IOC-Request": "1"})
        assert answer.status_code == 201


async def test_a_pack_without_people_is_looked_at_and_not_changed(tmp_path: Path) -> None:
    files = {name: text for name, text in PACK.items() if name != "people.toml"}
    async with administration(tmp_path, files=files) as admin:
        seen = (await admin.get("/pack", None)).json()
        assert not seen["may_change"]
        assert "people.toml" in seen["fix"]
        answer = await admin.post("/changes", None, base=seen["version"], files={}, why="x")
        assert (answer.status_code, answer.json()["reason"]) == (403, "no_people")


async def test_a_shipped_pack_stays_as_it_is(tmp_path: Path) -> None:
    shipped = SHIPPED / "vietnam"
    before = version_of(read_folder(shipped))
    pack = PackFolder(shipped, tmp_path)
    author = Author(who="tri", name="Quản trị", why="x", at=NOW)
    with pytest.raises(AdminRefused) as raised:
        pack.apply(before, {"units.toml": None}, author, lambda _: [])
    assert raised.value.reason is AdminReason.READ_ONLY
    assert "ioc site copy" in raised.value.fix
    assert version_of(read_folder(shipped)) == before


@pytest.mark.parametrize(
    "name",
    [
        "../kpis.toml",
        "/etc/passwd",
        "kpis.toml/../x",
        "..",
        "",
        "notes.txt",
        "a/b.geojson",
        "x.geojson\x00",
        "X.geojson",
    ],
)
async def test_a_name_leads_to_no_other_file(tmp_path: Path, name: str) -> None:
    async with administration(tmp_path) as admin:
        answer = await admin.change({name: "x"})
        assert (answer.status_code, answer.json()["reason"]) == (422, "unknown_file")
        assert (await admin.post("/preview", files={name: "x"})).status_code == 422
        assert not (tmp_path / "kpis.toml").exists()
        assert read_folder(admin.folder) == FILES


@pytest.mark.parametrize("name", ["..%2fdata%2fx", "%2fetc%2fpasswd", "%2e%2e", "notes.txt", "people.toml%00"])
async def test_only_files_of_the_pack_are_read(tmp_path: Path, name: str) -> None:
    async with administration(tmp_path) as admin:
        (admin.folder / "notes.txt").write_text("not for this page")
        assert (await admin.get(f"/pack/files/{name}")).status_code == 404
        assert (await admin.get("/pack/files/people.toml")).text == FILES["people.toml"]


async def test_what_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.admin.pack_folder.FILE_BYTES_MAX", 100_000)
    monkeypatch.setattr(admin_app, "BODY_BYTES_MAX", 300_000)
    async with administration(tmp_path) as admin:
        answer = await admin.change({"units.toml": "#" * 100_001})
        assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")
        answer = await admin.change({"units.toml": "#" * 300_001})
        assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")
        answer = await admin.change(kpis("value = 90", "value = 80"), "w" * 501)
        assert (answer.status_code, answer.json()["reason"]) == (422, "no_reason")
        answer = await admin.change(kpis("value = 90", "value = 80"), " ")
        assert answer.json()["reason"] == "no_reason"
        answer = await admin.change({"units.toml": FILES["units.toml"]})
        assert answer.json()["reason"] == "no_change"
        answer = await admin.client.post("/changes", content=b"{", headers=admin.issuer.header("tri"))
        assert (answer.status_code, answer.json()["reason"]) == (422, "malformed")


async def test_a_file_is_added_and_removed_and_both_are_put_back(tmp_path: Path) -> None:
    async with administration(tmp_path) as admin:
        assert (await admin.change(LAYERS, "layers")).status_code == 201
        admin.site_folder.look()
        assert list(admin.site_folder.current().layers) == ["cameras", "plan"]
        assert (await admin.change(dict.fromkeys(LAYERS), "no layers")).status_code == 201
        assert not (admin.folder / "plan.geojson").exists()
        answer = await admin.post("/changes/2/revert", base=await admin.version(), why="layers again")
        assert answer.status_code == 201
        assert admin.on_disk("plan.geojson") == LAYERS["plan.geojson"]
        assert list(SiteFolder(admin.folder).current().layers) == ["cameras", "plan"]


async def test_a_change_is_put_back_around_a_later_one_elsewhere_in_the_file(tmp_path: Path) -> None:
    async with administration(tmp_path) as admin:
        await admin.change(kpis("value = 90", "value = 80"), "first")
        later = kpis("within_s = 86400", "within_s = 43200", admin.on_disk("kpis.toml"))
        await admin.change(later, "second")
        assert (await admin.post("/changes/1/revert", base=await admin.version(), why="back")).status_code == 201
        assert admin.on_disk("kpis.toml") == FILES["kpis.toml"].replace("within_s = 86400", "within_s = 43200")
        await admin.change(kpis("value = 90", "value = 70", admin.on_disk("kpis.toml")), "same place")
        await admin.change(kpis("value = 70", "value = 60", admin.on_disk("kpis.toml")), "same place again")
        answer = await admin.post("/changes/4/revert", base=await admin.version(), why="back")
        assert (answer.status_code, answer.json()["reason"]) == (409, "overlaps")


async def test_what_follows_from_a_change_is_said(tmp_path: Path) -> None:
    async with administration(tmp_path) as admin:
        added = '\n[[kpi]]\nid = "new"\nnames = { vi = "Mới", en = "New" }\nunit = "1"\n'
        added += 'event = "ioc.feedback.received.v1"\nmeasure = "count"\n'
        people = FILES["people.toml"].replace('id = "lena"', 'id = "lan"')
        files = {
            "kpis.toml": FILES["kpis.toml"].replace("within_s = 86400", "within_s = 43200") + added,
            "people.toml": people,
            "site.toml": FILES["site.toml"].replace("minute_days = 3650", "minute_days = 30"),
        }
        seen = (await admin.post("/preview", files=files)).json()
        assert seen["mistakes"] == []
        effects = {one["code"]: one["about"] for one in seen["effects"]}
        assert effects == {
            "kpi_starts": ["new"],
            "kpi_counts_otherwise": ["closed_within_day"],
            "person_leaves": ["lena"],
            "person_needs_password": ["lan"],
            "kept_for_less": ["30/3650 d"],
        }
        kinds = {(one["kind"], one["id"], one["change"]) for one in seen["changes"]}
        assert ("kpi", "new", "added") in kinds
        assert ("person", "lena", "removed") in kinds


KILLED = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from deploy.admin.history import version_of
from deploy.admin.pack_folder import Author, PackFolder
from deploy.site import read_folder

folder, data, after = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
moved = []

def die(name):
    moved.append(name)
    if len(moved) == after:
        os._exit(9)

files = {"kpis.toml": sys.argv[4], "units.toml": sys.argv[5], "agencies.toml": sys.argv[6]}
author = Author(who="tri", name="T", why="killed", at=datetime(2026, 5, 1, tzinfo=UTC))
PackFolder(folder, data, moved=die).apply(version_of(read_folder(folder)), files, author, lambda _: [])
"""


@pytest.mark.parametrize("after", [1, 2, 3])
async def test_who_is_killed_between_two_files_leaves_a_whole_change(tmp_path: Path, after: int) -> None:
    folder = write_pack(FILES, tmp_path / "site")
    new = {
        "kpis.toml": FILES["kpis.toml"].replace("value = 90", "value = 80"),
        "units.toml": FILES["units.toml"] + "# after\n",
        "agencies.toml": FILES["agencies.toml"] + "# after\n",
    }
    command = [sys.executable, "-c", KILLED, str(folder), str(tmp_path / "data"), str(after), *new.values()]
    ended = await asyncio.to_thread(subprocess.run, command, cwd=Path(__file__).parents[2], check=False)
    assert ended.returncode == 9
    # Files that were not moved in yet still hold what they did; whoever reads the pack has the change all the same.
    assert (folder / PENDING).is_dir()
    stale = [name for name in new if (folder / name).read_text() != new[name]]
    assert len(stale) == 3 - after
    assert read_folder(folder) == {**FILES, **new}
    assert load_pack(folder)["units.toml"] == new["units.toml"]
    async with Admin(tmp_path, site=folder).serving() as admin:
        assert not (folder / PENDING).exists()
        assert {name: admin.on_disk(name) for name in new} == new
        (change,) = (await admin.get("/changes")).json()["items"]
        assert change["why"] == "killed"
        assert (await admin.post("/changes/1/revert", base=await admin.version(), why="x")).status_code == 201
        assert read_folder(folder) == FILES


class Disk:
    """Takes no file that is moved in until it is mended, or for so many times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.takes = threading.Event()

    def __call__(self, _: str) -> None:
        self.times -= 1
        if self.times >= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.takes.set()


async def test_what_is_in_force_is_not_called_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.admin.pack_folder.FINISH_PAUSE_S", 0.0)
    monkeypatch.setattr(admin_app, "FINISH_EVERY_S", 0.01)
    disk = Disk(2)
    admin = Admin(tmp_path, moved=disk)
    base = version_of(read_folder(admin.folder))
    author = Author(who="tri", name="T", why="a full disk", at=NOW)
    files = kpis("value = 90", "value = 80")
    assert admin.pack.apply(base, files, author, lambda _: []).number == 1
    disk.times = 1000
    later = kpis("value = 80", "value = 70", admin.on_disk("kpis.toml"))
    with pytest.raises(AdminRefused, match="is in force") as raised:
        admin.pack.apply(version_of(read_folder(admin.folder)), later, author, lambda _: [])
    assert raised.value.reason is AdminReason.NOT_WRITTEN_DOWN
    assert read_folder(admin.folder) == {**FILES, **later}
    with pytest.raises(AdminRefused, match="an earlier change is in force"):
        admin.pack.apply(version_of(read_folder(admin.folder)), files, author, lambda _: [])
    async with admin.serving():
        assert (admin.folder / PENDING).exists()
        disk.takes.clear()
        disk.times = 0
        assert await asyncio.to_thread(disk.takes.wait, 60)
        # Whoever has the lock now comes after the one who moved it in.
        with admin.pack.held():
            assert not (admin.folder / PENDING).exists()
        assert [one["number"] for one in (await admin.get("/changes")).json()["items"]] == [2, 1]
        assert read_folder(admin.folder) == {**FILES, **later}


async def test_a_disk_that_takes_nothing_changes_nothing(tmp_path: Path) -> None:
    async with administration(tmp_path) as admin:
        admin.data.write_text("no folder")
        answer = await admin.change(kpis("value = 90", "value = 80"))
        assert (answer.status_code, answer.json()["reason"]) == (500, "not_possible")
        assert read_folder(admin.folder) == FILES
        assert sorted(path.name for path in admin.folder.iterdir()) == sorted(FILES)


async def test_a_file_that_no_layer_names_is_not_lost(tmp_path: Path) -> None:
    async with administration(tmp_path) as admin:
        (admin.folder / "plan.geojson").write_text("drawn by hand")
        seen = (await admin.post("/preview", files=LAYERS)).json()
        assert {one["name"]: one["change"] for one in seen["diffs"]}["plan.geojson"] == "changed"
        change = (await admin.change(LAYERS)).json()
        assert change["result"] == await admin.version()
        answer = await admin.post("/changes/1/revert", base=await admin.version(), why="back")
        assert admin.on_disk("plan.geojson") == "drawn by hand"
        assert answer.json()["result"] == await admin.version() == change["base"]
        # One that lies there already is declared by its name alone.
        (admin.folder / "plan.geojson").write_text(LAYERS["plan.geojson"])
        some = {name: text for name, text in LAYERS.items() if name != "plan.geojson"}
        change = (await admin.change({**some, "units.toml": "\ufeff" + FILES["units.toml"] + "# x\n"})).json()
        assert change["result"] == await admin.version()
        assert admin.on_disk("units.toml").startswith(FILES["units.toml"])
        change = (await admin.change({"layers.toml": None}, "no layers")).json()
        assert change["result"] == await admin.version()
        assert admin.on_disk("plan.geojson") == LAYERS["plan.geojson"]
        (admin.folder / "plan.geojson").write_bytes(b"\xff")
        answer = await admin.change({"plan.geojson": "{}"})
        assert (answer.status_code, answer.json()["reason"]) == (422, "mistakes")
        assert (admin.folder / "plan.geojson").read_bytes() == b"\xff"


async def test_a_change_that_was_not_complete_is_none(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    staged = admin.folder / ".ioc-change.partial"
    staged.mkdir()
    (staged / "kpis.toml").write_text("half a fi")
    assert read_folder(admin.folder) == FILES
    async with admin.serving():
        assert not staged.exists()
        assert (await admin.change(kpis("value = 90", "value = 80"))).status_code == 201


async def test_a_history_that_was_altered_is_told(tmp_path: Path) -> None:
    async with administration(tmp_path) as admin:
        for value in (80, 70, 60):
            text = admin.on_disk("kpis.toml")
            at = text.index("[[kpi.target]]\nvalue = ")
            await admin.change({"kpis.toml": text[:at] + f"[[kpi.target]]\nvalue = {value}" + text[at + 25 :]})
        listed = (await admin.get("/changes")).json()
        assert (listed["total"], listed["broken_at"]) == (3, None)
        entry = admin.data / "site-history" / "000001.json"
        assert entry.stat().st_mode & 0o077 == 0
        entry.write_text(entry.read_text().replace('"a test"', '"somebody else"'))
        listed = (await admin.get("/changes")).json()
        assert listed["broken_at"] == 2
        assert [one["number"] for one in listed["items"]] == [1]
        found = {one["id"]: one for one in (await admin.get("/health")).json()["findings"]}
        assert (found["history"]["state"], found["history"]["values"]) == ("bad", {"change": 2})


async def test_an_entry_is_changed_in_its_text_alone(tmp_path: Path) -> None:
    async with administration(tmp_path) as admin:
        text = FILES["people.toml"]
        items = (await admin.post("/entries", file="people.toml", text=text)).json()["items"]
        assert [one["id"] for one in items][-2:] == ["lena", "tri"]
        edits = [{"path": ["name"], "value": "Lê Na"}, {"path": ["quiet_from"], "value": "22:00"}]
        edits += [{"path": ["quiet_to"], "value": "06:00"}, {"path": ["roles", 1], "value": "auditor"}]
        edits += [{"path": ["address", "mail"], "value": "lena@example.vn"}]
        answer = await admin.post("/edit", file="people.toml", text=text, id="lena", edits=edits)
        changed = answer.json()["text"]
        entry = text[text.index('[[person]]\nid = "lena"') : text.index("# Looks after")]
        assert changed.startswith(text[: text.index(entry)])
        assert changed.endswith(text[text.index("# Looks after") :])
        assert "quiet_from = 22:00:00\n" in changed
        assert (await admin.post("/preview", files={"people.toml": changed})).json()["mistakes"] == []
        gone = (await admin.post("/edit", file="people.toml", text=changed, id="tri", remove=True)).json()["text"]
        assert "Looks after" not in gone
        new = [{"path": ["id"], "value": "x"}, {"path": ["areas"], "value": ["00"]}]
        added = (await admin.post("/edit", file="people.toml", text=gone, edits=new)).json()["text"]
        assert added == gone + '\n[[person]]\nid = "x"\nareas = ["00"]\n'
        refused: list[tuple[dict[str, Any], str]] = [
            ({"file": "people.toml", "text": text, "id": "nobody", "edits": edits}, "unknown_entry"),
            ({"file": "areas.csv", "text": "", "id": "x", "edits": edits}, "unknown_file"),
            ({"file": "people.toml", "text": "[[", "id": "x", "edits": edits}, "mistakes"),
            ({"file": "people.toml", "text": text, "id": "lena", "edits": []}, "malformed"),
            ({"file": "people.toml", "text": text, "id": "lena", "edits": [{"path": ["roles", 7]}]}, "malformed"),
        ]
        for body, reason in refused:
            assert (await admin.post("/edit", **body)).json()["reason"] == reason


async def test_what_is_away_is_told_with_what_to_do(tmp_path: Path) -> None:
    async with administration(tmp_path) as admin:
        seen = (await admin.get("/health")).json()
        assert seen["state"] == "bad"
        found = {one["id"]: one for one in seen["findings"]}
        assert found["database"]["state"] == "bad"
        assert found["database"]["remedy"]
        assert found["kafka"]["state"] == "good"
        assert found["workers"]["state"] == "unknown"
        assert found["disk"]["values"]["free"] > 0
        assert found["certificate"]["code"] == "no_https"
        (admin.folder / "kpis.toml").write_text("[[kpi]")
        admin.site_folder.look()
        found = {one["id"]: one for one in (await admin.get("/health")).json()["findings"]}
        assert "line 1" in found["pack"]["detail"]
        assert not (await admin.get("/pack")).json()["is_in_force"]
        # What was broken by hand is mended here.
        assert (await admin.change({"kpis.toml": FILES["kpis.toml"]})).status_code == 201
        admin.site_folder.look()
        assert not admin.site_folder.problem
        for path in ("/letters", "/outbox"):
            answer = await admin.get(path)
            assert answer.status_code == 503
            assert answer.json()["fix"]


async def test_one_look_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(_: Path) -> None:
        raise ValueError("a disk without a size")

    monkeypatch.setattr("deploy.admin.health.shutil.disk_usage", stumble)
    async with administration(tmp_path) as admin:
        answer = await admin.get("/health")
        assert answer.status_code == 200
        found = {one["id"]: one for one in answer.json()["findings"]}
        assert (found["disk"]["state"], found["disk"]["code"]) == ("unknown", "no_answer")
        assert "ValueError: a disk without a size" in found["disk"]["detail"]
        assert found["kafka"]["state"] == "good"


async def test_texts_are_taken_apart_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    met = threading.Barrier(2)

    def meeting(*_: object) -> list[object]:
        # Two at a time would meet here, and break nothing.
        with suppress(threading.BrokenBarrierError):
            met.wait(0.1)
            raise AssertionError("two at a time")
        return []

    monkeypatch.setattr("deploy.admin.entry.entries", meeting)
    async with administration(tmp_path) as admin:
        answers = await asyncio.gather(*(admin.post("/entries", file="people.toml", text="") for _ in range(2)))
    assert [answer.status_code for answer in answers] == [200, 200]
