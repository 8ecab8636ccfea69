"""What kinds of cases are there, and which signals may be one case?

`cases.toml` in the site pack. Every mistake is a SiteError with the line, the reason and the fix.
"""

from collections.abc import Collection, Mapping
from functools import cached_property, partial
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from schemas.agency import AGENCIES_FILE, Agency, is_below
from schemas.case import Kind, Severity
from schemas.site_file import convert_file, mistake_at, numbered, suggestion

CASES_FILE = "cases.toml"

CategoryId = Annotated[str, Meta(min_length=1, max_length=128)]
"""As senders write it in `category`, or in an incident's `kind`."""


class LawStep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step that the law gives for handling a case. `law` says which law."""

    id: CategoryId
    names: dict[str, str]
    law: str = ""


class Category(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a signal is about.

    `agency`     who gets it without being asked; none: an operator decides. Of complaints about conduct: who gets
                 those about an agency that nobody supervises, or that do not name one
    `skills`     what a unit must be able to do
    `sensitive`  a published place is rounded
    `publish`    cases of it are shown to everyone unless somebody says otherwise
    `opens`      whether a signal of it opens a case
    `group`      categories of one group are near in kind
    `steps`      what the law wants done, in this order, before a case of it can be resolved
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
    steps: tuple[LawStep, ...] = ()


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


class CaseRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """The content of `cases.toml`.

    `other`   the category of a signal whose own is not declared
    `unsaid`  that of a citizen's report that names none; `other` when it is left out
    """

    category: Annotated[list[Category], Meta(min_length=1)]
    other: CategoryId
    unsaid: CategoryId | None = None
    proposals: Proposals = Proposals()
    confirmation: Confirmation = Confirmation()

    def of(self, category: str) -> Category:
        """The category of this id, else the one for what is not declared."""
        return self._by_id.get(category) or self._by_id[self.other]

    def of_complaint(self, category: str) -> Category:
        """The category of a report that names an accused agency, which is a complaint whatever else it says.

        Its own where complaints are of it, else the first of those. A site that declares none keeps them apart, too.
        """
        found = self.of(category)
        if found.kind is Kind.CONDUCT:
            return found
        declared = next((one for one in self.category if one.kind is Kind.CONDUCT), None)
        return declared or replace(found, kind=Kind.CONDUCT, opens=True)

    @cached_property
    def _by_id(self) -> dict[str, Category]:
        return {one.id: one for one in self.category}

    @property
    def conduct(self) -> frozenset[str]:
        """The categories of complaints about officials."""
        return frozenset(one.id for one in self.category if one.kind is Kind.CONDUCT)


def parse_case_rules(text: str) -> CaseRules:
    """Reads `cases.toml`. Raises SiteError."""
    rules = convert_file(text, CaseRules, CASES_FILE)
    wrong = partial(mistake_at, CASES_FILE, text)
    for number, category in numbered(rules.category, CASES_FILE, text, "category"):
        path = ("category", number)
        if category.kind is Kind.CONDUCT and not category.opens:
            # Who may see a report follows from its case.
            reason = f"complaints of {category.id!r} would open no case, and be everybody's to read"
            raise wrong((*path, "opens"), reason, "Take `opens = false` away.")
        steps: set[str] = set()
        for place, step in enumerate(category.steps):
            if step.id in steps:
                reason = f"the step {step.id!r} is there twice"
                raise wrong((*path, "steps", place, "id"), reason, "Name each step once.")
            steps.add(step.id)
    if Kind.CONDUCT in rules.proposals.kinds:
        reason = "complaints about officials would be proposed as one with what others see"
        raise wrong(("proposals", "kinds"), reason, "Take 'conduct' out of `kinds`.")
    known = {category.id for category in rules.category}
    for key, named in (("other", rules.other), ("unsaid", rules.unsaid)):
        if named is not None and named not in known:
            raise wrong((key,), f"category {named!r} is not declared", "Declare it, or name another.")
    return rules


def supervising_agency(rules: CaseRules, agencies: Mapping[str, Agency], category: str, accused: str) -> str | None:
    """Who deals with a complaint about an official of `accused`: its supervisor, else the category's own agency.

    None where that would be the accused agency itself, or one that it supervises: the complaint stays with those who
    see the cases of every agency.
    """
    supervisor = agencies[accused].supervisor if accused in agencies else None
    asked = (supervisor, rules.of(category).agency)
    return next((one for one in asked if one is not None and not is_below(agencies, one, accused)), None)


def check_categories(
    text: str,
    rules: CaseRules,
    agencies: Mapping[str, Agency],
    seeing_all: Collection[Collection[str]] | None,
) -> None:
    """Checks what `cases.toml` says of agencies: each is declared, and a complaint about any of them has where to go.

    `seeing_all` are the agencies of each operator who sees the cases of every agency; None where everybody may do
    everything. Raises SiteError.
    """
    wrong = partial(mistake_at, CASES_FILE, text)
    for number, category in enumerate(rules.category):
        if category.agency is not None and category.agency not in agencies:
            reason = f"agency {category.agency!r} is not declared in {AGENCIES_FILE}"
            raise wrong(("category", number, "agency"), reason, suggestion(category.agency, agencies))
        if category.kind is not Kind.CONDUCT:
            continue
        path = ("category", number, "id")
        if category.agency is None:
            reason = f"nobody gets complaints of {category.id!r} that do not name an agency"
            raise wrong(path, reason, f"Add `agency`, one of {AGENCIES_FILE}.")
        for accused in agencies:
            is_seen = seeing_all is None or any(
                not any(is_below(agencies, one, accused) for one in theirs) for theirs in seeing_all
            )
            if not is_seen and supervising_agency(rules, agencies, category.id, accused) is None:
                reason = f"nobody but {accused!r} and those below it would get complaints of {category.id!r}"
                fix = f"Give {accused!r} a supervisor in {AGENCIES_FILE}, or declare an operator with "
                raise wrong(path, reason, fix + 'agencies = ["*"] in people.toml who belongs to none of them.')
