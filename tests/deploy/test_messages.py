"""Do messages leave by the process that sends, and does whoever runs the centre see what does not?"""

import asyncio
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest

from deploy import secret_file
from deploy.channel_secrets import CHANNELS_FOLDER, secret_of
from deploy.local.check import channel_findings
from deploy.migrate import ensure_topics, migrate_schema
from deploy.outbound import LETTERS_FOLDER, show
from deploy.settings import Settings
from schemas.errors import OperatorError
from schemas.notice import Why
from streams.core.notice import to_agency
from tests.outbound.letter_world import AT, FIRE, notice, put_case, put_notice
from tests.schemas.channel_pack import CHANNELS, channel_pack

ROOT = Path(__file__).parent.parent.parent
WAIT_S = 60.0

FILES = CHANNELS.replace(
    'kind = "mail"\naddress = "smtp://mail.example.vn:587"\nsender = "ioc@example.vn"\nname = "Trung tâm điều hành"\n'
    'user = "ioc"\nsecret = "file:mail"\n',
    'kind = "folder"\npath = "mail"\n',
)


@pytest.fixture
async def settings(database_url: str, kafka: str, topic_prefix: str, tmp_path: Path) -> Settings:
    """A centre whose mail is files, and whose SMS gateway nobody answers for."""
    await migrate_schema(database_url)
    await ensure_topics(kafka, topic_prefix)
    folder = tmp_path / "site"
    folder.mkdir()
    for name, text in channel_pack(FILES).items():
        (folder / name).write_text(text, encoding="utf-8")
    return Settings.from_env(
        {
            "IOC_DATA": str(tmp_path / "data"),
            "IOC_SITE": str(folder),
            "IOC_KAFKA": kafka,
            "IOC_DATABASE_URL": database_url,
            "IOC_TOPIC_PREFIX": topic_prefix,
            "IOC_SECRET_SMS": "s",
        }
    )


def environ(settings: Settings) -> dict[str, str]:
    """The environment that says the same."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("IOC_")}
    return others | {
        "IOC_DATA": str(settings.data_dir),
        "IOC_SITE": str(settings.site),
        "IOC_KAFKA": settings.kafka or "",
        "IOC_DATABASE_URL": settings.database_url or "",
        "IOC_TOPIC_PREFIX": settings.topic_prefix,
        **settings.secrets,
    }


async def test_the_process_turns_a_notice_into_a_message(settings: Settings) -> None:
    connection = await asyncpg.connect(settings.database_url)
    try:
        await put_case(connection, FIRE)
        await put_notice(connection, notice(Why.ASSIGNED, to_agency("roads")))
        command = [sys.executable, "-m", "deploy.cli", "run", "outbound"]
        folder = settings.data_dir / LETTERS_FOLDER / "mail"
        with subprocess.Popen(command, cwd=ROOT, env=environ(settings)) as process:  # noqa: ASYNC220
            try:
                async with asyncio.timeout(WAIT_S):
                    while not list(folder.glob("*.json")):
                        assert process.poll() is None
                        await asyncio.sleep(0.05)
            finally:
                process.terminate()
        assert process.returncode == 0
    finally:
        await connection.close()
    (file,) = folder.glob("*.json")
    said = msgspec.json.decode(file.read_bytes())
    assert (said["to"], said["address"], said["title"]) == (
        "person:an",
        "an@example.vn",
        "khẩn cấp: Anh Nam 0912",
    )


async def test_what_was_given_up_and_what_was_heard_is_shown(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await asyncio.to_thread(show, settings, retry=False)
    found = await asyncio.to_thread(lambda: {one.name: one for one in channel_findings(settings)})
    assert found["messages"].ok
    connection = await asyncpg.connect(settings.database_url)
    try:
        await put_notice(connection, notice(Why.ASSIGNED, "an"))
        await connection.execute("UPDATE outbox SET due_at = 'infinity', last_error = 'nobody answers'")
        await connection.execute(
            "INSERT INTO receipt (message, kind, channel, at) VALUES ('m1', 'played', 'horns', $1)",
            AT + timedelta(minutes=1),
        )
    finally:
        await connection.close()
    assert not await asyncio.to_thread(show, settings, retry=False)
    shown = capsys.readouterr().out
    assert "notice:n:0  notice  given up  attempts 0  nobody answers" in shown
    assert "m1  horns  played  2026-03-09T02:01:00Z  -" in shown
    found = await asyncio.to_thread(lambda: {one.name: one for one in channel_findings(settings)})
    assert not found["messages"].ok
    assert "1 were given up" in found["messages"].detail
    # A secret that the pack names and nobody has put there.
    assert not found["channel partner"].ok
    assert "IOC_SECRET_PARTNER" in found["channel partner"].detail
    assert "channel sms" not in found


def test_secrets_are_where_the_pack_says_and_nowhere_else(tmp_path: Path) -> None:
    settings = Settings.from_env({"IOC_DATA": str(tmp_path), "IOC_SECRET_SMS": "of the gateway", "IOC_SECRET_NO": ""})
    assert secret_of(settings, "env:IOC_SECRET_SMS") == b"of the gateway"
    path = tmp_path / secret_file.FOLDER / CHANNELS_FOLDER / "mail"
    secret_file.write(path, b"of the relay\n")
    assert secret_of(settings, "file:mail") == b"of the relay"
    secret_file.write(tmp_path / secret_file.FOLDER / "personal.keys", b"the centre's own")
    path.chmod(0o644)
    for reference in ("file:mail", "env:IOC_SECRET_NO", "file:away", "file:personal.keys"):
        with pytest.raises(OperatorError) as caught:
            secret_of(settings, reference)
        assert "of the relay" not in str(caught.value)
