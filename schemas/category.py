"""What kinds of cases are there, and which signals may be one case?

`cases.toml` in the site pack. Every mistake is a SiteError with the line, the reason and the fix.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.case import Kind, Severity
from schemas.errors import SiteError
from schemas.site_file import convert_file
from schemas.toml_lines import line_of, toml_lines

CASES_FILE = "cases.toml"

CategoryId = Annotated[str, Meta(min_length=1, max_length=128)]
"""As senders write it in `category`, or in an incident's `kind`."""


class Category(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a signal is about.

    `agency`     who gets it without being asked; none: an operator decides
    `skills`     what a unit must be able to do
    `sensitive`  a published place is rounded
    `publish`    cases of it are shown to everyone unless somebody says otherwise
    `opens`      whether a signal of it opens a case
    `group`      categories of one group are near in kind
    """

    id: CategoryId
    names: dict[str, str]
    kind: Kind = Kind.SERVICE
    severity: Severity = Severity.MINOR
    agency: str | None = None
    skills: list[str] = []
    sensitive: bool = False
    publish: bool = False
    opens: bool = True
    group: str | None = None


class Proposals(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When two open cases are proposed as one: near in place, time and category, each scored from 0 to 1.

    `confirm_score`  from this score on they are merged without asking; None: never
    """

    radius_m: Annotated[float, Meta(gt=0, le=50_000)] = 150.0
    within_s: Annotated[float, Meta(gt=0, le=30 * 86_400)] = 86_400.0
    least_score: Annotated[float, Meta(gt=0, le=1)] = 0.5
    confirm_score: Annotated[float, Meta(gt=0, le=1)] | None = None
    kinds: tuple[Kind, ...] = (Kind.SERVICE, Kind.INCIDENT)


class Confirmation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of a resolved case whose citizen says nothing: it is closed after so many days."""

    close_after_days: Annotated[float, Meta(gt=0, le=3650)] = 7.0
    ask: Literal["citizen", "nobody"] = "citizen"


class CaseRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `cases.toml`. A signal whose category is not declared gets the one named `other`."""

    category: Annotated[list[Category], Meta(min_length=1)]
    other: CategoryId
    proposals: Proposals = Proposals()
    confirmation: Confirmation = Confirmation()

    def of(self, category: str) -> Category:
        """The category of this id, else the one for what is not declared."""
        found = {one.id: one for one in self.category}
        return found.get(category) or found[self.other]

    @property
    def conduct(self) -> frozenset[str]:
        """The categories of complaints about officials."""
        return frozenset(one.id for one in self.category if one.kind is Kind.CONDUCT)


def parse_case_rules(text: str) -> CaseRules:
    """Reads `cases.toml`. Raises SiteError."""
    rules = convert_file(text, CaseRules, CASES_FILE)
    lines = toml_lines(text)
    known: set[str] = set()
    for number, category in enumerate(rules.category):
        if category.id in known:
            where = f"line {line_of(lines, ('category', number, 'id'))}"
            raise SiteError(
                CASES_FILE, where, f"the id {category.id!r} is used twice", "Give every category its own."
            )
        known.add(category.id)
    if rules.other not in known:
        where = f"line {line_of(lines, ('other',))}"
        raise SiteError(
            CASES_FILE, where, f"category {rules.other!r} is not declared", "Declare it, or name another."
        )
    return rules
