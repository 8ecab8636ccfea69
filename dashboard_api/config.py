"""What is the dashboard told from outside, and how much does it take on?"""

from collections.abc import Callable
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from dashboard_api.case_view import NextActions
from dashboard_api.provider import Provider
from schemas.exercise import with_drills
from schemas.personal import KeyRing
from schemas.site import Site
from schemas.token import Trust


class Bounds(Struct, frozen=True, kw_only=True):
    """Every limit of this room, each with what happens at it."""

    clients_max: int = 1_000  # one more is accepted, told why and closed with 1013
    message_bytes_max: int = 16 * 1024  # a longer message is answered with `error`; above 64 KiB the server closes
    series_max: int = 400  # KPIs times areas of a subscription; more is answered with `error`
    points_max: int = 1_500  # buckets of a series; more is answered with `error`
    values_max: int = 40_000  # series times points of a subscription; more is answered with `error`
    events_max: int = (
        500  # events of a list; of more that wait for a slow client the newest stay, the rest is counted
    )
    buckets_max: int = 1_500  # buckets of a REST answer; a longer range is refused with 422
    sources_max: int = 1_000  # sources in an answer; beyond it those heard longest ago are left out
    workers_max: int = 256  # workers in an answer; beyond it those heard longest ago are left out
    cases_max: int = 500  # cases of a live list; of more the client is told that there are
    waiters_max: int = 2_000  # requests that wait for commands' outcomes; one more is answered at once
    decided_max: int = 2_000  # outcomes read for live clients at once; of more the feed says nothing
    changes_max: int = 2_000  # change rows read at once; the feed reads on at once when there are more
    resume_changes_max: int = 20_000  # change rows behind a position; beyond it the client gets a snapshot
    resume_age_s: int = 3_600  # age of a position; beyond it the client gets a snapshot. Keep change rows for longer
    pool_size: int = 8  # database connections; a request waits for one, then gets 503
    answer_timeout_s: float = 4.0  # for connection and query together; then 503
    feed_timeout_s: float = 3.0  # for a query of the feed; then the database counts as away
    send_timeout_s: float = 10.0  # a client that takes nothing for so long is closed with 1013
    lagging_after_s: float = 1.0  # a client that kept a message waiting for so long is told that it lags
    heartbeat_s: float = 2.0  # between two heartbeats
    stream_max_s: float = 600.0  # life of a stream of events; then it ends, and the client goes on with its position
    poll_wait_s: float = 25.0  # how long a poll waits at most for something to tell
    poll_idle_s: float = 15.0  # a polling client that asks nothing for so long is forgotten; it resumes by position
    poll_s: float = 0.25  # between two looks at the feed when no notification came


class DashboardConfig(Struct, frozen=True, kw_only=True):
    """All that `create_app` needs. `origins` are further web origins whose pages may open the live feed.

    `trust` is whose tokens count; without it nobody can sign in. `provider` is where they sign in, and `public_url`
    the origin by which people reach the board, without a slash at the end. `next_actions` is the life cycle that
    cases are decided by, and without `key_ring` nothing that was sealed can be shown.
    """

    database_url: str
    current_site: Callable[[], Site]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    bounds: Bounds = Bounds()
    origins: tuple[str, ...] = ()
    trust: Trust | None = None
    provider: Provider | None = None
    public_url: str = "http://127.0.0.1:8080"
    next_actions: NextActions = lambda _site, _case, _actor: ()
    key_ring: KeyRing | None = None

    @property
    def site(self) -> Site:
        """The site pack in force, and of each indicator its twin of drills behind them.

        It may change while the process runs: nobody keeps it for longer than a request.
        """
        site = self.current_site()
        return replace(site, kpis=with_drills(site.kpis))
