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

-- add_to_kpi --
-- Adds cells to what the buckets of one tier hold.
INSERT INTO kpi_tier AS kept (kpi, area, bucket, dim, bin, shard, n, total, low, high)
SELECT kpi, area, to_timestamp(bucket), dim, bin, $1, n, total, low, high
FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::integer[], $7::bigint[],
            $8::double precision[], $9::double precision[], $10::double precision[])
    AS cell (kpi, area, bucket, dim, bin, n, total, low, high)
ON CONFLICT (kpi, area, bucket, dim, bin, shard) DO UPDATE
SET n = kept.n + excluded.n,
    total = kept.total + excluded.total,
    low = least(kept.low, excluded.low),
    high = greatest(kept.high, excluded.high);

-- see_sources --
-- Notes who was heard. Event time may go back; what is kept is the newest.
INSERT INTO source_seen AS kept (source, topic, shard, n, time, received_at)
SELECT source, $1, $2, n, to_timestamp(time_s), to_timestamp(received_s)
FROM unnest($3::text[], $4::bigint[], $5::double precision[], $6::double precision[])
    AS seen (source, n, time_s, received_s)
ON CONFLICT (source, topic, shard) DO UPDATE
SET n = kept.n + excluded.n,
    time = greatest(kept.time, excluded.time),
    received_at = greatest(kept.received_at, excluded.received_at);

-- note_change --
-- One row a transaction for the change feed.
INSERT INTO change (touched) VALUES ($1);

-- wake_feed --
-- Wakes the feed's readers at commit. Without payload, once a transaction: it takes a lock that all commits share.
NOTIFY ioc_change;

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
