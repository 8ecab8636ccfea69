"""What does a citizen read about where a case stands?

The handling has fourteen states; who waits for an answer needs fewer, in words that need no explaining.
"""

from collections.abc import Mapping
from enum import StrEnum

from schemas.case import State


class Stage(StrEnum):
    """Where a case stands, as far as it matters to somebody outside."""

    RECEIVED = "received"
    PASSED_ON = "passed_on"
    IN_WORK = "in_work"
    ASKED_YOU = "asked_you"
    WAITING = "waiting"
    DONE = "done"
    CLOSED = "closed"
    REFUSED = "refused"
    JOINED = "joined"


_STAGES: Mapping[State, Stage] = {
    State.NEW: Stage.RECEIVED,
    State.TRIAGED: Stage.RECEIVED,
    State.MERGED: Stage.JOINED,
    State.ASSIGNED: Stage.PASSED_ON,
    State.ACCEPTED: Stage.IN_WORK,
    State.EN_ROUTE: Stage.IN_WORK,
    State.ON_SCENE: Stage.IN_WORK,
    State.WAITING_CITIZEN: Stage.ASKED_YOU,
    State.WAITING_AGENCY: Stage.WAITING,
    State.RESOLVED: Stage.DONE,
    State.CONFIRMED: Stage.CLOSED,
    State.CLOSED: Stage.CLOSED,
    State.REJECTED: Stage.REFUSED,
    State.REOPENED: Stage.IN_WORK,
}

WORDS: Mapping[Stage, Mapping[str, str]] = {
    Stage.RECEIVED: {
        "vi": "Chúng tôi đã nhận được phản ánh của bạn và đang xem xét.",
        "en": "We have received your report and are looking at it.",
    },
    Stage.PASSED_ON: {
        "vi": "Phản ánh đã được chuyển đến cơ quan có trách nhiệm giải quyết.",
        "en": "Your report has been passed on to the agency in charge.",
    },
    Stage.IN_WORK: {
        "vi": "Cơ quan có trách nhiệm đang giải quyết.",
        "en": "The agency in charge is working on it.",
    },
    Stage.ASKED_YOU: {
        "vi": "Chúng tôi cần bạn trả lời để có thể tiếp tục. Thời hạn tạm dừng cho đến khi bạn trả lời.",
        "en": "We need an answer from you to go on. The time limit stands still until you answer.",
    },
    Stage.WAITING: {
        "vi": "Việc giải quyết đang chờ một cơ quan khác. Thời hạn tạm dừng.",
        "en": "The work is waiting for another agency. The time limit stands still.",
    },
    Stage.DONE: {
        "vi": "Việc đã được giải quyết. Bạn hãy cho biết kết quả đã đúng chưa.",
        "en": "The work is done. Please say whether the problem is solved.",
    },
    Stage.CLOSED: {
        "vi": "Phản ánh đã được giải quyết xong và đóng lại.",
        "en": "Your report has been dealt with and closed.",
    },
    Stage.REFUSED: {
        "vi": "Phản ánh không được tiếp nhận giải quyết; lý do ghi bên dưới.",
        "en": "Your report will not be dealt with; the reason is given below.",
    },
    Stage.JOINED: {
        "vi": "Nhiều người đã phản ánh cùng một việc; chúng tôi giải quyết chung.",
        "en": "Others have reported the same; it is dealt with together.",
    },
}
"""What is said of each stage, by language."""


def stage_of(state: State) -> Stage:
    """The stage that a state is in."""
    return _STAGES[state]


def words_of(stage: Stage, languages: list[str]) -> dict[str, str]:
    """What is said of a stage in those of the site's languages that it is written in; else in all of them."""
    said = WORDS[stage]
    return {language: said[language] for language in languages if language in said} or dict(said)
