"""Is `channels.toml` read, and is every mistake in it named with its line?"""

from pathlib import Path

import pytest

from schemas.channel import LoudspeakerChannel, MailChannel, parse_channels
from schemas.errors import SiteError
from schemas.notice import Audience, Why
from schemas.notice_text import PLACEHOLDERS
from schemas.site import mistakes, parse_site
from tests.schemas.case_pack import pack
from tests.schemas.channel_pack import CHANNELS, PEOPLE, channel_pack, channel_site


def test_read() -> None:
    channels = channel_site().channels
    assert [type(one) for one in channels.channel[1:3]] == [MailChannel, LoudspeakerChannel]
    found = channels.template_for(Why.ESCALATED, Audience.PERSON)
    assert found is not None
    assert found.channels == ["mail", "sms"]
    assert channels.template_for(Why.OFFERED, Audience.AGENCY) is None
    assert channels.of("fax") is None


def test_a_pack_without_it_tells_nobody() -> None:
    channels = parse_site(pack({"dispatch.toml": ""})).channels
    assert (channels.channel, channels.template, channels.copy) == ([], [], [])


@pytest.mark.parametrize(
    ("old", "new", "where", "said"),
    [
        pytest.param('id = "mail"', 'id = "sms"', 22, "is used twice", id="an id twice"),
        pytest.param('id = "mail"', 'id = "push"', 22, "live feed", id="the live feed's name"),
        pytest.param('kind = "mail"', 'kind = "fax"', 23, "", id="a kind that there is not"),
        pytest.param('secret = "file:mail"', 'secret = "hunter2"', 28, "does not say where", id="a secret itself"),
        pytest.param('secret = "file:mail"', 'secret = "env:PATH"', 28, "does not say where", id="another variable"),
        pytest.param(
            'secret = "file:mail"', 'secret = "file:../a"', 28, "does not say where", id="out of the folder"
        ),
        pytest.param('user = "ioc"\n', "", 21, "only one of `user` and `secret`", id="a password of nobody"),
        pytest.param("smtp://mail", "http://mail", 24, "not such an address", id="another scheme"),
        pytest.param(
            "//sms.example.vn/send", "//u:p@sms.example.vn/", 16, "not such an address", id="a password in it"
        ),
        pytest.param('sender = "ioc@example.vn"\nname', 'sender = "ioc"\nname', 25, "no e-mail", id="no sender"),
        pytest.param('topic = "horns/say"\n', "", 30, "`topic` is missing", id="a broker without a topic"),
        pytest.param("horns/say", "horns/#", 34, "wildcard", id="a wildcard"),
        pytest.param('secret = "env:IOC_SECRET_PARTNER"\n', "", 37, "`secret` is missing", id="unsigned"),
        pytest.param("{case} {area}", "{case} {place}", 47, "{place} is not known", id="a placeholder"),
        pytest.param("{case} {area}", "{case} {area", 47, "is not known", id="half a brace"),
        pytest.param('why = ["withdrawn"]', 'why = ["gone"]', 50, "gone", id="a reason that there is not"),
        pytest.param('to = ["citizen"]', 'to = ["friend"]', 63, "friend", id="an audience that there is not"),
        pytest.param(
            ', en = "Not needed: {case}: {reason}"', "", 52, "missing in the language 'en'", id="a language"
        ),
        pytest.param('["mail", "sms"]', '["mail", "fax"]', 57, "channel 'fax' is not known", id="a channel"),
        pytest.param('["mail", "sms"]', '["partner"]', 57, "reaches no person", id="a channel without persons"),
        pytest.param('channel = "partner"', 'channel = "sms"', 73, "a copy names none", id="a copy to nobody"),
        pytest.param(
            '["assigned"]\n\n[[copy]]', '["closed"]\n\n[[copy]]', 74, "nothing says", id="a copy without words"
        ),
        pytest.param('categories = ["fire"]', 'categories = ["flod"]', 79, "category 'flod'", id="a category"),
        pytest.param('area = "01"', 'area = "77"', 81, "area '77'", id="an area"),
        pytest.param("{ fire =", "{ flood =", 11, "category 'flood'", id="a category of CAP"),
        pytest.param('"Fire" }', '"Heat" }', 11, "", id="a word of CAP"),
        pytest.param("quiet_to = 06:30:00\n", "", 5, "only one of", id="half of the quiet hours"),
        pytest.param("#case={case}", "", 3, "", id="a link that leads to no case"),
    ],
)
def test_mistakes(old: str, new: str, where: int, said: str) -> None:
    assert old in CHANNELS
    changed = channel_pack(CHANNELS.replace(old, new, 1))
    with pytest.raises(SiteError) as caught:
        parse_site(changed)
    assert (caught.value.file, caught.value.position) == ("channels.toml", f"line {where}")
    assert said in caught.value.reason
    assert caught.value.fix
    assert "hunter2" not in str(caught.value)
    assert [str(one) for one in mistakes(changed)] == [str(caught.value)]


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        pytest.param("people.toml", "{ sms =", "{ fax =", "address for 'fax'", id="a person's address"),
        pytest.param("units.toml", '"sms"', '"fax"', "told by 'fax'", id="a unit's channel"),
    ],
)
def test_what_others_name_has_to_be_declared(file: str, old: str, new: str, said: str) -> None:
    files = channel_pack()
    assert old in files[file]
    with pytest.raises(SiteError, match=said):
        parse_site({**files, file: files[file].replace(old, new, 1)})


def test_people_are_those_of_the_pack() -> None:
    assert "chi" in channel_site(people_toml=PEOPLE).people


def test_the_example_in_the_documents_is_right() -> None:
    text = (Path(__file__).parents[2] / "docs" / "messages.md").read_text(encoding="utf-8")
    example = text.split("```toml\n")[1].split("```")[0]
    channels = parse_channels(example, ["vi", "en"])
    assert [channel.id for channel in channels.channel] == ["sms", "horns"]
    # All that can be said is named there.
    for word in [
        *(f"{{{name}}}" for name in PLACEHOLDERS),
        *(one.value for one in Why),
        *(one.value for one in Audience),
    ]:
        assert f"`{word}`" in text
