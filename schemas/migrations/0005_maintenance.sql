-- What the centre has to remember to keep its tables small.

-- Up to which bucket the rows of each base have been merged over their shards; into shard -1.
CREATE TABLE compaction (
    tier            text        NOT NULL CHECK (tier IN ('minute', 'hour', 'day')),
    kpi             text        NOT NULL,
    compacted_until timestamptz NOT NULL,
    PRIMARY KEY (tier, kpi)
);

-- What comes to buckets that have been merged: corrections, and what back-fills count (shards from 1000 on). Other rows
-- are not in these indexes, so counting does not pay for them.
CREATE INDEX kpi_minute_left_over ON kpi_minute (kpi, bucket)
    WHERE shard >= 0 AND (shard >= 1000 OR corrected_at IS NOT NULL);
CREATE INDEX kpi_hour_left_over ON kpi_hour (kpi, bucket)
    WHERE shard >= 0 AND (shard >= 1000 OR corrected_at IS NOT NULL);
CREATE INDEX kpi_day_left_over ON kpi_day (kpi, bucket)
    WHERE shard >= 0 AND (shard >= 1000 OR corrected_at IS NOT NULL);

INSERT INTO timer (name, due_at) VALUES ('retention', clock_timestamp()), ('compaction', clock_timestamp());
