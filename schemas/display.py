"""Which screens may show what somebody sees, and nothing more?

`displays.toml` in the site pack declares them; `ioc display` writes it. A screen on a wall has a key instead of a
person who signs in. It sees the cases and units that the person sees for whom it stands, complaints about officials
excepted, without a word that anybody wrote; and it gives no command. The file holds what the key hashes to: a key is
256 random bits, so nobody finds it from that. Whoever takes an entry out has taken the screen's sight within seconds.
"""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct, field

from schemas.command import Actor
from schemas.errors import AccessReason, AccessRefused
from schemas.identity import Person, PersonId, Role, actor_from
from schemas.site_file import check_known, convert_file, mistake_at, numbered
from schemas.toml_lines import Path

if TYPE_CHECKING:
    from schemas.site import Site

DISPLAYS_FILE = "displays.toml"

DISPLAY_ROLE = "display"
"""The only role of a screen. It is none of `Role`: nobody is given it, and no route asks for it."""

KEY_PREFIX = "ioc-display-"
KEY_CHARS_MAX = 128
"""A longer key is none."""

DisplayId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}\Z")]


class Display(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"stands_for": "as"}):
    """One screen.

    `as`    the person of `people.toml` whose areas and agencies it shows
    `key`   what its key hashes to (SHA-256)
    `added` when it was made
    """

    id: DisplayId
    stands_for: PersonId
    key: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    added: date | None = None


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    displays: list[Display] = field(name="display", default=[])


_wrong = partial(mistake_at, DISPLAYS_FILE)


def parse_displays(text: str) -> dict[str, Display]:
    """The screens by what their keys hash to. Raises SiteError."""
    found: dict[str, Display] = {}
    given = convert_file(text, _File, DISPLAYS_FILE).displays
    for number, display in numbered(given, DISPLAYS_FILE, text, "display"):
        path: Path = ("display", number, "key")
        if display.key in found:
            reason = f"{display.id!r} has the key of {found[display.key].id!r}"
            raise _wrong(text, path, reason, "Make one with `ioc display add`.")
        found[display.key] = display
    return found


def check_displays(text: str, displays: Mapping[str, Display], people: Mapping[str, Person]) -> None:
    """Raises SiteError for a screen that stands for nobody, or for somebody who sees no map of cases."""
    for number, display in enumerate(displays.values()):
        path: Path = ("display", number, "as")
        check_known(display.stands_for, people, "person", DISPLAYS_FILE, text, path)
        if set(people[display.stands_for].roles) <= {Role.UNIT}:
            reason = f"{display.stands_for!r} is in a unit and nothing else, and sees only where it is sent"
            raise _wrong(text, path, reason, "Name somebody who sees the cases of an area.")


def new_key() -> str:
    """A key that nobody guesses."""
    return f"{KEY_PREFIX}{secrets.token_urlsafe(32)}"


def hash_of(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def display_with(site: "Site", key: str) -> Display | None:
    """The screen that has this key; None where no screen has it."""
    if not key.startswith(KEY_PREFIX) or len(key) > KEY_CHARS_MAX:
        return None
    return site.displays.get(hash_of(key))


def display_let_in(site: "Site", key_hash: str) -> Actor:
    """What the screen with this key sees. Raises AccessRefused for one that the pack does not declare any more.

    It has no agency of its own and sees all agencies only by naming each, and so has no sight of complaints about
    officials, whoever they go to; and no unit.
    """
    display = site.displays.get(key_hash)
    person = None if display is None else site.people.get(display.stands_for)
    if display is None or person is None:
        raise AccessRefused(
            AccessReason.UNKNOWN_DISPLAY,
            "the site pack has no screen with this key, or not any more",
            "Make one with `ioc display add`, and open the address that it prints.",
        )
    seen = actor_from(site, person)
    own = tuple(site.agencies) if seen.sees_all else () if seen.agency is None else (seen.agency,)
    return Actor(
        id=f"{DISPLAY_ROLE}:{display.id}",
        roles=(DISPLAY_ROLE,),
        agencies=(*own, *(agency for agency in seen.agencies if agency not in own)),
        areas=seen.areas,
    )


def is_display(actor: Actor) -> bool:
    """Whether nobody in particular looks: then no word that somebody wrote is shown."""
    return DISPLAY_ROLE in actor.roles
