-- read_position --
-- The lane's position; stores the start of the topic when there is none. One row: topic_id, next_offset.
WITH stored AS (
    INSERT INTO position (consumer_group, topic, partition, topic_id, next_offset)
    VALUES ($1, $2, $3, $4, 0)
    ON CONFLICT (consumer_group, topic, partition) DO NOTHING
    RETURNING topic_id, next_offset
)
SELECT topic_id, next_offset FROM stored
UNION ALL
SELECT topic_id, next_offset FROM position WHERE consumer_group = $1 AND topic = $2 AND partition = $3
LIMIT 1;

-- advance_position --
-- Moves the lane from where the caller believes it is. No row: somebody else moved it. Holds the row until commit.
UPDATE position
SET next_offset = $6, updated_at = clock_timestamp()
WHERE consumer_group = $1 AND topic = $2 AND partition = $3 AND topic_id = $4 AND next_offset = $5
RETURNING next_offset;

-- insert_events --
-- Keeps events by identity. Returns the ordinals (from 1) of those that were not there yet.
WITH given AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[],
                         $7::text[], $8::text[], $9::bytea[])
        WITH ORDINALITY AS g (source, id, type, subject, time, received_at, area, area_list, body, ordinal)
), kept AS (
    INSERT INTO event (source, id, type, subject, time, received_at, area, area_list, body)
    SELECT DISTINCT ON (source, id) source, id, type, subject, time, received_at, area, area_list, body
    FROM given ORDER BY source, id, ordinal
    ON CONFLICT (source, id) DO NOTHING
    RETURNING source, id
)
SELECT min(ordinal) AS ordinal FROM given JOIN kept USING (source, id) GROUP BY source, id;

-- add --
-- Adds a batch's cells to the buckets of each tier, notes who was heard, and writes the row of the change feed: one
-- statement, because on a small batch it is the round trips that cost. Cells come as one array per column and tier.
-- A source's event time may go back; what is kept is the newest. The feed's readers are woken at commit, once a
-- transaction and without payload: NOTIFY takes a lock that all commits share.
WITH minutes AS (
    INSERT INTO kpi_minute AS kept (kpi, area, bucket, dim, bin, shard, n, total, low, high)
    SELECT kpi, area, to_timestamp(bucket), dim, bin, $1, n, total, low, high
    FROM unnest($6::text[], $7::text[], $8::text[], $9::integer[], $10::bigint[], $11::bigint[],
                $12::double precision[], $13::double precision[], $14::double precision[])
        AS cell (kpi, area, dim, bin, bucket, n, total, low, high)
    ON CONFLICT (kpi, area, bucket, dim, bin, shard) DO UPDATE
    SET n = kept.n + excluded.n, total = kept.total + excluded.total,
        low = least(kept.low, excluded.low), high = greatest(kept.high, excluded.high)
), hours AS (
    INSERT INTO kpi_hour AS kept (kpi, area, bucket, dim, bin, shard, n, total, low, high)
    SELECT kpi, area, to_timestamp(bucket), dim, bin, $1, n, total, low, high
    FROM unnest($15::text[], $16::text[], $17::text[], $18::integer[], $19::bigint[], $20::bigint[],
                $21::double precision[], $22::double precision[], $23::double precision[])
        AS cell (kpi, area, dim, bin, bucket, n, total, low, high)
    ON CONFLICT (kpi, area, bucket, dim, bin, shard) DO UPDATE
    SET n = kept.n + excluded.n, total = kept.total + excluded.total,
        low = least(kept.low, excluded.low), high = greatest(kept.high, excluded.high)
), days AS (
    INSERT INTO kpi_day AS kept (kpi, area, bucket, dim, bin, shard, n, total, low, high)
    SELECT kpi, area, to_timestamp(bucket), dim, bin, $1, n, total, low, high
    FROM unnest($24::text[], $25::text[], $26::text[], $27::integer[], $28::bigint[], $29::bigint[],
                $30::double precision[], $31::double precision[], $32::double precision[])
        AS cell (kpi, area, dim, bin, bucket, n, total, low, high)
    ON CONFLICT (kpi, area, bucket, dim, bin, shard) DO UPDATE
    SET n = kept.n + excluded.n, total = kept.total + excluded.total,
        low = least(kept.low, excluded.low), high = greatest(kept.high, excluded.high)
), sources AS (
    INSERT INTO source_seen AS kept (source, topic, shard, n, time, received_at)
    SELECT source, $33, $1, n, to_timestamp(time_s), to_timestamp(received_s)
    FROM unnest($2::text[], $3::bigint[], $4::double precision[], $5::double precision[])
        AS seen (source, n, time_s, received_s)
    ON CONFLICT (source, topic, shard) DO UPDATE
    SET n = kept.n + excluded.n, time = greatest(kept.time, excluded.time),
        received_at = greatest(kept.received_at, excluded.received_at)
), changed AS (
    INSERT INTO change (touched) VALUES ($34)
)
SELECT pg_notify('ioc_change', '');

-- beat --
-- Says that this worker is alive, and what it is doing.
INSERT INTO worker (id, state, detail, started_at, beat_at)
VALUES ($1, $2, $3, $4, clock_timestamp())
ON CONFLICT (id) DO UPDATE
SET state = excluded.state, detail = excluded.detail, started_at = excluded.started_at, beat_at = excluded.beat_at;

-- forget_changes --
-- Drops change rows beyond their retention, a bounded number at a time. Returns how many.
WITH old AS (
    SELECT xid FROM change WHERE committed_at < clock_timestamp() - make_interval(secs => $1) ORDER BY xid LIMIT $2
)
DELETE FROM change USING old WHERE change.xid = old.xid;
