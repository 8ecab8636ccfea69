"""Does a site get a pack of its own that says the same, and is nothing overwritten?"""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.admin.pack_folder import PackFolder
from deploy.cli import app
from deploy.site import SHIPPED, load_pack
from deploy.site_commands import copy_site
from schemas.errors import OperatorError


def test_a_shipped_pack_is_copied_to_where_it_may_be_changed(tmp_path: Path) -> None:
    target = tmp_path / "own" / "site"
    result = CliRunner().invoke(app, ["site", "copy", str(target)], env={"IOC_SITE": str(SHIPPED / "boston")})
    assert result.exit_code == 0, result.output
    assert f"IOC_SITE={target}" in result.output
    assert load_pack(target) == load_pack(SHIPPED / "boston")
    assert (target / "demo" / "demo.toml").is_file()
    assert PackFolder(SHIPPED / "boston", tmp_path).read_only() is not None
    assert PackFolder(target, tmp_path).read_only() is None


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "kpis.toml").write_text("mine")
    with pytest.raises(OperatorError):
        copy_site(SHIPPED / "boston", tmp_path)
    assert (tmp_path / "kpis.toml").read_text() == "mine"
    with pytest.raises(OperatorError):
        copy_site(SHIPPED / "boston", SHIPPED / "boston" / "own")
