"""What does a worker say of alert rules?"""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

VERDICTS = Counter("ioc_streams_alert_verdicts_total", "What came of series at steps.", ["verdict"])
CHANGES = Counter("ioc_streams_alert_changes_total", "Alerts that began, changed or ended.", ["what"])
LOOK_S = Histogram("ioc_streams_alert_look_seconds", "A look at one rule, reading included.", buckets=_SECONDS)
LEFT_OUT = Gauge("ioc_streams_alert_series_left_out", "Series beyond the bound at a rule's last look.", ["rule"])
SKIPPED = Counter("ioc_streams_alert_steps_skipped_total", "Steps too long ago to catch up on.")
FIRING = Gauge("ioc_streams_alert_series_firing", "Series that fire, told or not.", ["rule"])
OPEN = Gauge("ioc_streams_alerts_open", "Alerts that are told and not over.", ["rule"])
AGE_S = Gauge("ioc_streams_alert_age_seconds", "Since the last step that was decided.", ["rule"])
FAILED = Counter("ioc_streams_alert_looks_failed_total", "Looks that failed.")
