"""Does `ioc check` tell everything that is wrong with a site pack?"""

import shutil
from pathlib import Path

from deploy import secret_file
from deploy.local.check import findings, site_findings
from deploy.personal_keys import key_ring
from deploy.settings import Settings

BOSTON = Path(__file__).parents[2] / "deploy" / "sites" / "boston"


def test_every_mistake_of_a_pack_is_told_in_a_line(tmp_path: Path) -> None:
    folder = shutil.copytree(BOSTON, tmp_path / "pack")
    kpis = folder / "kpis.toml"
    text = kpis.read_text(encoding="utf-8")
    wrong = text.replace('id = "feedback.received"', 'id = "Feedback"').replace('due = "due_at"', 'due = "duty"')
    kpis.write_text(wrong, encoding="utf-8")
    site = folder / "site.toml"
    site.write_text(site.read_text(encoding="utf-8").replace("America/", "Amerika/"), encoding="utf-8")
    lines = [finding.as_line() for finding in site_findings(folder)]
    assert all(line.startswith("WRONG  site pack: ") and "\n" not in line for line in lines)
    assert "site.toml" in lines[0]
    assert any(", kpi 'Feedback': the id" in line for line in lines)
    assert any("`due` names 'duty'" in line and "Did you mean" in line for line in lines)


def test_a_good_pack_is_told_by_what_it_holds() -> None:
    (finding,) = site_findings(BOSTON)
    assert finding.ok
    assert "24 areas" in finding.detail


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (finding,) = site_findings(tmp_path / "nowhere")
    assert not finding.ok
    assert "site.toml" in finding.detail


def test_a_secret_that_others_can_read_is_told(tmp_path: Path) -> None:
    settings = Settings.from_env({"IOC_DATA": str(tmp_path), "IOC_CACHE": str(tmp_path / "cache")})
    secret = tmp_path / secret_file.FOLDER / "key"
    secret_file.write(secret, b"x")
    assert next(one for one in findings(settings) if one.name == "secrets").ok
    secret.chmod(0o640)
    told = next(one for one in findings(settings) if one.name == "secrets")
    assert not told.ok
    assert f"chmod 600 {secret}" in told.detail


def test_keys_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    variables = {"IOC_DATA": str(tmp_path), "IOC_CACHE": str(tmp_path / "cache")}
    name = "keys of personal data"
    # Before the first start there are none, and nothing is wrong with that.
    assert all(one.name != name for one in findings(Settings.from_env(variables)))
    key_ring(Settings.from_env(variables))
    assert next(one for one in findings(Settings.from_env(variables)) if one.name == name).ok
    elsewhere = variables | {"IOC_PERSONAL_KEYS": str(tmp_path / "nowhere")}
    told = next(one for one in findings(Settings.from_env(elsewhere)) if one.name == name)
    assert not told.ok
    assert "IOC_PERSONAL_KEYS" in told.detail
