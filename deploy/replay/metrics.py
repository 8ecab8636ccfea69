"""What does a replay say of itself?"""

from prometheus_client import Counter

SENT = Counter(
    "ioc_feed_events_sent_total", "Events put into requests; one that is sent again counts again.", ["feed"]
)
ACCEPTED = Counter("ioc_feed_events_accepted_total", "Events that the centre has taken.", ["feed"])
REJECTED = Counter("ioc_feed_events_rejected_total", "Events that the centre has refused.", ["feed"])
RETRIES = Counter("ioc_feed_retries_total", "Requests without an answer that lasts, to be sent again.", ["feed"])
