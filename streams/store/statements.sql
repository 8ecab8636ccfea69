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

-- advance_positions --
-- Moves lanes from where the caller believes they are, and holds their rows until commit. Returns the ordinals (from 1)
-- of those that were there; somebody else has moved the others. Rows are locked in one order, so that two workers
-- that want the same lanes wait for each other instead of locking each other out.
WITH asked AS (
    SELECT p.consumer_group, p.topic, p.partition, a.new_offset, a.ordinal
    FROM unnest($2::text[], $3::integer[], $4::uuid[], $5::bigint[], $6::bigint[])
        WITH ORDINALITY AS a (topic, partition, topic_id, next_offset, new_offset, ordinal)
    JOIN position AS p USING (topic, partition, topic_id, next_offset)
    WHERE p.consumer_group = $1
    ORDER BY p.topic, p.partition
    FOR UPDATE OF p
)
UPDATE position AS p
SET next_offset = asked.new_offset, updated_at = clock_timestamp()
FROM asked
WHERE (p.consumer_group, p.topic, p.partition) = (asked.consumer_group, asked.topic, asked.partition)
RETURNING asked.ordinal;

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
-- Adds cells to the buckets of each tier, notes who was heard, and writes the row of the change feed: one statement,
-- because on small batches it is the round trips that cost. Cells come as one array per column and tier. A source's
-- event time may go back; what is kept is the newest. The feed's readers are woken at commit, once a transaction and
-- without payload: NOTIFY takes a lock that all commits share.
WITH changed AS (
    INSERT INTO change (touched) VALUES ($1)
), sources AS (
    INSERT INTO source_seen AS kept (source, topic, shard, n, time, received_at)
    SELECT source, topic, shard, n, to_timestamp(time_s), to_timestamp(received_s)
    FROM unnest($2::text[], $3::text[], $4::integer[], $5::bigint[], $6::double precision[], $7::double precision[])
        AS seen (source, topic, shard, n, time_s, received_s)
    ON CONFLICT (source, topic, shard) DO UPDATE
    SET n = kept.n + excluded.n, time = greatest(kept.time, excluded.time),
        received_at = greatest(kept.received_at, excluded.received_at)
), minutes AS (
    INSERT INTO kpi_minute AS kept (kpi, area, bucket, dim, bin, shard, n, total, low, high)
    SELECT kpi, area, to_timestamp(bucket), dim, bin, shard, n, total, low, high
    FROM unnest($8::integer[], $9::text[], $10::text[], $11::text[], $12::integer[], $13::bigint[],
                $14::bigint[], $15::double precision[], $16::double precision[], $17::double precision[])
        AS cell (shard, kpi, area, dim, bin, bucket, n, total, low, high)
    ON CONFLICT (kpi, area, bucket, dim, bin, shard) DO UPDATE
    SET n = kept.n + excluded.n, total = kept.total + excluded.total,
        low = least(kept.low, excluded.low), high = greatest(kept.high, excluded.high)
), hours AS (
    INSERT INTO kpi_hour AS kept (kpi, area, bucket, dim, bin, shard, n, total, low, high)
    SELECT kpi, area, to_timestamp(bucket), dim, bin, shard, n, total, low, high
    FROM unnest($18::integer[], $19::text[], $20::text[], $21::text[], $22::integer[], $23::bigint[],
                $24::bigint[], $25::double precision[], $26::double precision[], $27::double precision[])
        AS cell (shard, kpi, area, dim, bin, bucket, n, total, low, high)
    ON CONFLICT (kpi, area, bucket, dim, bin, shard) DO UPDATE
    SET n = kept.n + excluded.n, total = kept.total + excluded.total,
        low = least(kept.low, excluded.low), high = greatest(kept.high, excluded.high)
), days AS (
    INSERT INTO kpi_day AS kept (kpi, area, bucket, dim, bin, shard, n, total, low, high)
    SELECT kpi, area, to_timestamp(bucket), dim, bin, shard, n, total, low, high
    FROM unnest($28::integer[], $29::text[], $30::text[], $31::text[], $32::integer[], $33::bigint[],
                $34::bigint[], $35::double precision[], $36::double precision[], $37::double precision[])
        AS cell (shard, kpi, area, dim, bin, bucket, n, total, low, high)
    ON CONFLICT (kpi, area, bucket, dim, bin, shard) DO UPDATE
    SET n = kept.n + excluded.n, total = kept.total + excluded.total,
        low = least(kept.low, excluded.low), high = greatest(kept.high, excluded.high)
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
