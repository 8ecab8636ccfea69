"""What can be told about a case?"""

from enum import StrEnum


class Why(StrEnum):
    """What a notice is about."""

    ASSIGNED = "assigned"
    OFFERED = "offered"
    WITHDRAWN = "withdrawn"
    MESSAGE = "message"
    DECLINED = "declined"
    ANSWERED = "answered"
    WAITING = "waiting"
    RESUMED = "resumed"
    RESOLVED = "resolved"
    CLOSED = "closed"
    REJECTED = "rejected"
    REOPENED = "reopened"
    DISPUTED = "disputed"
    REPLIED = "replied"
    MERGED = "merged"
    UNMERGED = "unmerged"
    WARNED = "warned"
    BREACHED = "breached"
    ESCALATED = "escalated"
    EVIDENCE_MISSING = "evidence_missing"


class Audience(StrEnum):
    """Who is told, as far as the words depend on it."""

    UNIT = "unit"  # the members of a unit that is sent
    AGENCY = "agency"  # those who work in an agency
    PERSON = "person"  # somebody who is named
    CITIZEN = "citizen"  # whoever reported it
    CHANNEL = "channel"  # another system, or everybody within earshot
