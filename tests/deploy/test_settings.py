"""Does a wrong environment variable lead to one line that names it, the reason and the fix?"""

from pathlib import Path

import pytest

from deploy.settings import SettingError, Settings


def test_nothing_set_means_all_local() -> None:
    settings = Settings.from_env({"HOME": "/home/someone", "IOC_SITE": "/"})
    assert settings.kafka is None
    assert settings.database_url is None
    assert settings.data_dir == Path.cwd() / ".ioc"
    assert settings.cache_dir == Path("/home/someone/.cache/ioc-streaming")
    assert (settings.host, settings.port, settings.workers, settings.worker) == ("127.0.0.1", None, 2, 0)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({"IOC_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a", id="IOC_CACHE wins"),
        pytest.param({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/ioc-streaming", id="then XDG_CACHE_HOME"),
        pytest.param(
            {"XDG_CACHE_HOME": "b", "HOME": "/c"}, "/c/.cache/ioc-streaming", id="a relative one does not count"
        ),
        pytest.param({"XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/ioc-streaming", id="nor does an empty one"),
    ],
)
def test_where_the_cache_is(environ: dict[str, str], expected: str) -> None:
    assert Settings.from_env({"IOC_SITE": "/", **environ}).cache_dir == Path(expected)


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        pytest.param("IOC_PORT", "http", "not a whole number", id="port is a word"),
        pytest.param("IOC_PORT", "0", "out of range", id="port 0"),
        pytest.param("IOC_PORT", "65536", "out of range", id="port above the last"),
        pytest.param("IOC_PORT", "-1", "not a whole number", id="port is negative"),
        pytest.param("IOC_PORT", "８０", "not a whole number", id="digits of another script"),
        pytest.param("IOC_WORKERS", "0", "out of range", id="no workers"),
        pytest.param("IOC_WORKERS", "1e3", "not a whole number", id="workers in scientific notation"),
        pytest.param("IOC_KAFKA", "broker", "bootstrap servers", id="kafka without a port"),
        pytest.param("IOC_KAFKA", "a:1,b", "bootstrap servers", id="the second broker without a port"),
        pytest.param("IOC_KAFKA", "a:99999", "bootstrap servers", id="kafka on an impossible port"),
        pytest.param("IOC_DATABASE_URL", "mysql://a/b", "PostgreSQL", id="another database"),
        pytest.param("IOC_DATABASE_URL", "postgresql://host", "PostgreSQL", id="no database named"),
        pytest.param("IOC_DATABASE_URL", "postgresql://h:x/d", "PostgreSQL", id="a port that is no number"),
        pytest.param("IOC_URL", "localhost:8080", "not the address of a centre", id="centre without a scheme"),
        pytest.param("IOC_SITE", "/nowhere/at/all", "not a folder", id="no such site"),
        pytest.param("IOC_LOG_LEVEL", "loud", "log level", id="no such level"),
    ],
)
def test_a_wrong_value_is_one_line_with_the_name_the_reason_and_the_fix(
    variable: str, value: str, reason: str
) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_env({"IOC_SITE": "/", variable: value})
    message = str(caught.value)
    assert message.startswith(variable)
    assert reason in message
    assert "Set " in message
    assert "\n" not in message


def test_a_password_is_not_shown() -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_env({"IOC_DATABASE_URL": "mysql://user:secret@host/d", "IOC_SITE": "/"})
    assert "secret" not in str(caught.value)
