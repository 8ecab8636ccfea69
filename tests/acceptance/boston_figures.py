"""What are Boston's indicators, worked out with polars from the city's own files and from nothing of this project?"""

import gzip
import io
from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl
from msgspec import Struct

from tests.conftest import ROOT

DATA = ROOT.parent / "shared" / "data" / "citizen311"
SLA_FILE = DATA / "boston_311_2011H2_sla.csv.gz"
OPEN311_FILE = DATA / "boston_open311_2017_2018.ndjson.gz"

ZONE = "America/New_York"
CITY, NOT_STATED = "BOS", "BOS-00"

Row = tuple[str, str, date]
"""Area, value of what it is split by (empty where it is not), first day of the span."""


class Figure(Struct, frozen=True):
    """What is expected of one value; for shares with what it is a share of."""

    value: float | None
    numerator: float | None = None
    denominator: float | None = None


class Reports(Struct, frozen=True):
    """One row a report, and one a closing, in the same columns: area, day, category, agency, channel; closings
    have also resolution_s and in_time (null without a target).
    """

    received: pl.DataFrame
    closed: pl.DataFrame


def sla_reports(codes: Mapping[str, str]) -> Reports:
    """The half year with targets. `codes` are the area codes of neighbourhoods by name."""
    frame = pl.read_csv(gzip.decompress(SLA_FILE.read_bytes()), infer_schema=False).with_columns(
        area=pl.col("neighborhood").replace_strict(dict(codes), default=NOT_STATED),
        category="type",
        agency="department",
        channel="source",
        opened=_moment("open_dt"),
        closed=_moment("closed_dt"),
        due=_moment("target_dt"),
    )
    return _reports(frame)


def open311_rows(months: Sequence[str], names: Sequence[str]) -> pl.DataFrame:
    """GeoReport records requested in these months (as 2017-03), as a table that a recording mapping can read: the
    neighbourhood is what stands last in the address, where it is one of these names.
    """
    place = pl.col("address").str.replace(r",?\s*MA\s*,?\s*\d*(-\d+)?\s*$", "").str.split(",").list.last()
    return (
        pl.read_ndjson(io.BytesIO(gzip.decompress(OPEN311_FILE.read_bytes())), infer_schema_length=None)
        .filter(pl.col("requested_datetime").str.slice(0, 7).is_in(months) if months else pl.lit(value=True))
        .with_columns(
            neighborhood=pl.when(place.str.strip_chars().is_in(names)).then(place.str.strip_chars()).otherwise(None),
            # A record has no time of its closing; it is when it was touched last.
            closed_datetime=pl.when(pl.col("status") == "closed").then("updated_datetime").otherwise(None),
            address=pl.col("address").str.strip_chars(),
        )
        .select(
            *("service_request_id", "service_name", "address", "neighborhood"),
            *("requested_datetime", "closed_datetime", "lat", "long"),
        )
    )


def open311_reports(rows: pl.DataFrame, codes: Mapping[str, str]) -> Reports:
    """The reports of a table that `open311_rows` gave."""
    frame = rows.with_columns(
        area=pl.col("neighborhood").replace_strict(dict(codes), default=NOT_STATED),
        category="service_name",
        agency=pl.lit(None, pl.String),
        channel=pl.lit("Open311"),
        opened=pl.col("requested_datetime").str.to_datetime(time_zone=ZONE),
        closed=pl.col("closed_datetime").str.to_datetime(time_zone=ZONE),
        due=pl.lit(None, pl.Datetime("us", ZONE)),
    )
    return _reports(frame)


def together(parts: Sequence[Reports]) -> Reports:
    """Several recordings as one, with every row once more for the whole city."""

    def joined(frames: list[pl.DataFrame]) -> pl.DataFrame:
        frame = pl.concat(frames)
        return pl.concat([frame, frame.with_columns(area=pl.lit(CITY))])

    return Reports(joined([part.received for part in parts]), joined([part.closed for part in parts]))


def figures(reports: Reports, span: str, by: str | None) -> dict[str, dict[Row, Figure]]:
    """The indicators by id, for spans of a `day` or a `month`, and by a column; spans without events are left out."""
    start = pl.col("day").dt.truncate("1d" if span == "day" else "1mo")
    split = pl.lit("") if by is None else pl.col(by).fill_null("")
    received = reports.received.with_columns(start=start, dim=split)
    closed = reports.closed.with_columns(start=start, dim=split)
    keys = ["area", "dim", "start"]
    came = received.group_by(keys).agg(
        n=pl.len(),
        agencies=pl.col("agency").drop_nulls().n_unique(),
        categories=pl.col("category").n_unique(),
    )
    whole = received.group_by("area", "start").agg(whole=pl.len())
    went = closed.group_by(keys).agg(
        n=pl.len(),
        judged=pl.col("in_time").count(),
        kept=pl.col("in_time").sum(),
        # The value of this rank, and not one between two.
        median=pl.col("resolution_s").quantile(0.5, "lower"),
        p90=pl.col("resolution_s").quantile(0.9, "lower"),
    )
    judged = went.filter(pl.col("judged") > 0).with_columns(share=pl.col("kept") / pl.col("judged"))
    shares = came.join(whole, on=["area", "start"]).with_columns(share=pl.col("n") / pl.col("whole"))
    return {
        "feedback.received": _column(came, "n"),
        "feedback.closed": _column(went, "n"),
        "feedback.closed_on_time": _column(judged, "share", "kept", "judged"),
        "feedback.resolution_median": _column(went, "median"),
        "feedback.resolution_p90": _column(went, "p90"),
        "feedback.channel_share": _column(shares, "share", "n", "whole"),
        "feedback.agencies": _column(came.filter(pl.col("agencies") > 0), "agencies"),
        "feedback.categories": _column(came, "categories"),
    }


def balances(reports: Reports) -> pl.DataFrame:
    """What was in handling at the end of each day on which something happened: columns area, day, balance."""
    steps = pl.concat(
        [
            reports.received.select("area", "day", step=pl.lit(1)),
            reports.closed.select("area", "day", step=pl.lit(-1)),
        ]
    )
    return (
        steps.group_by("area", "day")
        .agg(pl.col("step").sum())
        .sort("area", "day")
        .with_columns(balance=pl.col("step").cum_sum().over("area"))
    )


def _column(frame: pl.DataFrame, *names: str) -> dict[Row, Figure]:
    return {
        (area, dim, start): Figure(*map(float, values))
        for area, dim, start, *values in frame.select("area", "dim", "start", *names).iter_rows()
    }


def _reports(frame: pl.DataFrame) -> Reports:
    columns = ["area", "category", "agency", "channel"]
    finished = frame.filter(pl.col("closed").is_not_null())
    passed_s = (pl.col("closed") - pl.col("opened")).dt.total_microseconds() / 1e6
    return Reports(
        received=frame.select(*columns, day=pl.col("opened").dt.date()),
        closed=finished.select(
            *columns,
            day=pl.col("closed").dt.date(),
            resolution_s=pl.max_horizontal(passed_s, pl.lit(0.0)),
            in_time=pl.col("closed") <= pl.col("due"),
        ),
    )


def _moment(column: str) -> pl.Expr:
    """A local time of the city. A repeated hour is its first pass; a skipped one is as far past the change."""
    local = pl.col(column).str.to_datetime("%Y-%m-%d %H:%M:%S")
    zoned = local.dt.replace_time_zone(ZONE, ambiguous="earliest", non_existent="null")
    later = (local + pl.duration(hours=1)).dt.replace_time_zone(ZONE, ambiguous="earliest", non_existent="null")
    return pl.coalesce(zoned, later)
