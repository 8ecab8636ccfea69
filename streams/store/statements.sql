-- read_position --
-- The lane's position; stores the start of the topic when there is none. One row.
WITH stored AS (
    INSERT INTO position (consumer_group, topic, partition, topic_id, next_offset)
    VALUES ($1, $2, $3, $4, 0)
    ON CONFLICT (consumer_group, topic, partition) DO NOTHING
    RETURNING topic_id, next_offset, watermark_s, site_version
)
SELECT topic_id, next_offset, watermark_s, site_version FROM stored
UNION ALL
SELECT topic_id, next_offset, watermark_s, site_version FROM position
WHERE consumer_group = $1 AND topic = $2 AND partition = $3
LIMIT 1;

-- fence_out --
-- Waits until nobody counts, and keeps everybody from counting until the end of the transaction.
SELECT pg_advisory_xact_lock($1);

-- advance_positions --
-- Moves lanes from where the caller believes they are, and holds their rows until commit. Returns the ordinals (from 1)
-- of those that were there; somebody else has moved the others. Rows are locked in one order, so that two workers
-- that want the same lanes wait for each other instead of locking each other out. Whoever counts shares a fence ($9),
-- which a correction or a rebuild closes. A lane that counts by a later version already has been moved, too: nobody takes it
-- back to an earlier one.
WITH asked AS (
    SELECT p.consumer_group, p.topic, p.partition, p.site_version AS old_version, p.next_offset AS old_offset,
           a.new_offset, a.watermark_s, a.site_version, a.ordinal
    FROM (SELECT pg_advisory_xact_lock_shared($9)) AS fence,
        unnest($2::text[], $3::integer[], $4::uuid[], $5::bigint[], $6::bigint[], $7::double precision[],
               $8::integer[])
        WITH ORDINALITY AS a (topic, partition, topic_id, next_offset, new_offset, watermark_s, site_version, ordinal)
    JOIN position AS p USING (topic, partition, topic_id, next_offset)
    WHERE p.consumer_group = $1 AND p.site_version <= a.site_version
    ORDER BY p.topic, p.partition
    FOR UPDATE OF p
), switched AS (
    INSERT INTO site_switch (consumer_group, topic, partition, version, topic_id, next_offset)
    SELECT p.consumer_group, p.topic, p.partition, asked.site_version, p.topic_id, asked.old_offset
    FROM asked JOIN position AS p USING (consumer_group, topic, partition)
    WHERE asked.site_version <> asked.old_version
    ON CONFLICT (consumer_group, topic, partition, version) DO UPDATE
    SET topic_id = excluded.topic_id, next_offset = excluded.next_offset
)
UPDATE position AS p
SET next_offset = asked.new_offset, watermark_s = asked.watermark_s, site_version = asked.site_version,
    updated_at = clock_timestamp()
FROM asked
WHERE (p.consumer_group, p.topic, p.partition) = (asked.consumer_group, asked.topic, asked.partition)
RETURNING asked.ordinal;

-- note_caught_up --
-- Notes that lanes are counted to their end, as of a moment ($5), if nobody has moved them.
UPDATE position AS p
SET caught_up_at = $5
FROM unnest($2::text[], $3::integer[], $4::bigint[]) AS a (topic, partition, next_offset)
WHERE p.consumer_group = $1 AND (p.topic, p.partition, p.next_offset) = (a.topic, a.partition, a.next_offset);

-- insert_events --
-- Keeps events by identity. Returns the ordinals (from 1) of those that were not there yet, and whether an event that
-- was there corrects them. What corrects an event stands under its case, wherever that has gone.
WITH given AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[],
                         $7::text[], $8::text[], $9::bytea[], $10::text[], $11::timestamptz[], $12::text[],
                         $13::boolean[], $14::boolean[], $15::text[], $16::integer[], $17::bigint[], $18::integer[],
                         $19::text[])
        WITH ORDINALITY AS g (source, id, type, subject, time, received_at, area, area_list, body, located,
                              window_time, corrects, is_withdrawal, is_exercise, topic, partition, "offset",
                              site_version, case_id, ordinal)
), kept AS (
    INSERT INTO event (source, id, type, subject, time, received_at, area, area_list, body, located, window_time,
                       corrects, is_withdrawal, is_exercise, topic, partition, "offset", site_version, case_id)
    SELECT DISTINCT ON (source, id)
        source, id, type, subject, time, received_at, area, area_list, body, located, window_time, corrects,
        is_withdrawal, is_exercise, topic, partition, "offset", site_version,
        CASE WHEN corrects IS NULL THEN case_id ELSE coalesce((
            SELECT e.case_id FROM event AS e WHERE e.source = given.source AND e.id = given.corrects
        ), case_id) END
    FROM given ORDER BY source, id, ordinal
    ON CONFLICT (source, id) DO NOTHING
    RETURNING source, id
)
SELECT min(ordinal) AS ordinal,
       EXISTS (SELECT FROM event AS c WHERE c.source = kept.source AND c.corrects = kept.id) AS is_corrected
FROM given JOIN kept USING (source, id) GROUP BY kept.source, kept.id;

-- read_related --
-- The events of these identities, with what they correct and what corrects that, to the ends of their chains.
WITH RECURSIVE near (source, id) AS (
    SELECT * FROM unnest($1::text[], $2::text[])
    UNION
    SELECT n.source, further.id
    FROM near AS n CROSS JOIN LATERAL (
        SELECT e.corrects AS id FROM event AS e
        WHERE e.source = n.source AND e.id = n.id AND e.corrects IS NOT NULL
        UNION ALL
        SELECT e.id FROM event AS e WHERE e.source = n.source AND e.corrects = n.id
    ) AS further
)
SELECT e.source, e.id, e.type, e.corrects, e.is_withdrawal, e.is_exercise, e.received_at, e.area, e.located,
       e.window_time, e.site_version, e.topic, e.partition, e."offset", e.body
FROM near JOIN event AS e USING (source, id);

-- read_countable --
-- The events of these types that count and belong to [$2, $3).
SELECT source, id, type, area, located, window_time, site_version, topic, partition, "offset", body
FROM countable_event
WHERE type = ANY ($1::text[]) AND window_time >= $2 AND window_time < $3;

-- read_backfilled --
-- How far KPIs have been filled back, up to where, and by which version. Topic '' stands for the events of which it is not
-- known where they stood.
SELECT kpi, topic, partition, next_offset, stop_offset, site_version FROM backfill;

-- read_sketches --
-- The sketches that these buckets hold, of which each partition has its own row. The rows are held until commit: were one
-- merged away meanwhile, what is read here would be written back besides.
SELECT a.ordinal, k.sketch
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::integer[])
    WITH ORDINALITY AS a (kpi, area, bucket, dim, shard, ordinal)
JOIN kpi_tier AS k ON (k.kpi, k.area, k.bucket, k.dim, k.bin, k.shard)
    = (a.kpi, a.area, to_timestamp(a.bucket), a.dim, 0, a.shard)
WHERE k.sketch IS NOT NULL
FOR UPDATE OF k;

-- note_changes --
-- Notes who was heard, and writes the row of the change feed. A source's event time may go back; what is kept is the
-- newest. The feed's readers are woken at commit, once a transaction and without payload: NOTIFY takes a lock that all
-- commits share. Returns how often stored figures have been counted again.
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
)
SELECT pg_notify('ioc_change', ''), (SELECT recounts FROM feed) AS recounts;

-- given_cells --
-- The cells of a transaction, of all tiers; `of_tier` is the name of the table. `add` and `correct` read them.
SELECT of_tier, shard, kpi, area, dim, bin, to_timestamp(bucket) AS bucket, n, total::numeric AS total, low, high, sketch
FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::bigint[],
            $8::bigint[], $9::text[], $10::double precision[], $11::double precision[], $12::bytea[])
    AS cell (of_tier, shard, kpi, area, dim, bin, bucket, n, total, low, high, sketch)

-- merge --
-- How a cell goes into the row that is there: `add` and `correct` end with it. Sums add up, extremes and sketches merge
-- (a sketch comes merged already), and of a `latest` row (bin -2^31) the one that was true last holds.
    n = kept.n + excluded.n,
    total = CASE WHEN kept.bin > -2147483648 THEN kept.total + excluded.total
                 WHEN (excluded.high, excluded.total) > (kept.high, kept.total) OR kept.high IS NULL
                 THEN excluded.total
                 ELSE kept.total END,
    low = least(kept.low, excluded.low), high = greatest(kept.high, excluded.high),
    sketch = coalesce(excluded.sketch, kept.sketch)

-- add --
-- Adds cells to open buckets of a tier.
INSERT INTO kpi_tier AS kept (kpi, area, bucket, dim, bin, shard, n, total, low, high, sketch)
SELECT kpi, area, bucket, dim, bin, shard, n, total, low, high, sketch FROM given WHERE of_tier = 'kpi_tier'
ON CONFLICT (kpi, area, bucket, dim, bin, shard) DO UPDATE
SET

-- correct --
-- Adds cells to buckets of a tier that have closed. What a bucket held then is kept once, before its first correction.
-- With $13 the cells are reports of a period, which close with the first: a bucket without one, in whatever row, is not
-- corrected.
INSERT INTO kpi_tier AS kept (kpi, area, bucket, dim, bin, shard, n, total, low, high, sketch,
                              first_n, first_total, corrected_at)
SELECT kpi, area, bucket, dim, bin, shard, n, total, low, high, sketch,
       CASE WHEN is_first THEN NULL ELSE 0 END, CASE WHEN is_first THEN NULL ELSE 0 END,
       CASE WHEN is_first THEN NULL ELSE clock_timestamp() END
FROM (
    SELECT g.*, $13 AND NOT EXISTS (
        SELECT FROM kpi_tier AS k
        WHERE (k.kpi, k.area, k.bucket, k.dim, k.bin) = (g.kpi, g.area, g.bucket, g.dim, g.bin) AND k.shard <> g.shard
    ) AS is_first
    FROM given AS g WHERE of_tier = 'kpi_tier'
) AS closed
ON CONFLICT (kpi, area, bucket, dim, bin, shard) DO UPDATE
SET first_total = CASE WHEN kept.first_n IS NULL THEN kept.total ELSE kept.first_total END,
    first_low = CASE WHEN kept.first_n IS NULL THEN kept.low ELSE kept.first_low END,
    first_high = CASE WHEN kept.first_n IS NULL THEN kept.high ELSE kept.first_high END,
    first_sketch = CASE WHEN kept.first_n IS NULL THEN kept.sketch ELSE kept.first_sketch END,
    first_n = coalesce(kept.first_n, kept.n),
    corrected_at = clock_timestamp(),

-- empty --
-- Takes everything out of buckets that are found anew, in all partitions' rows. Where the bucket had closed ($6), what it
-- held then is kept. The caller has closed the fence.
UPDATE kpi_tier AS kept
SET first_total = CASE WHEN kept.first_n IS NULL AND a.closed THEN kept.total ELSE kept.first_total END,
    first_low = CASE WHEN kept.first_n IS NULL AND a.closed THEN kept.low ELSE kept.first_low END,
    first_high = CASE WHEN kept.first_n IS NULL AND a.closed THEN kept.high ELSE kept.first_high END,
    first_sketch = CASE WHEN kept.first_n IS NULL AND a.closed THEN kept.sketch ELSE kept.first_sketch END,
    first_n = CASE WHEN kept.first_n IS NULL AND a.closed THEN kept.n ELSE kept.first_n END,
    corrected_at = CASE WHEN a.closed THEN clock_timestamp() ELSE kept.corrected_at END,
    n = 0, total = 0, low = NULL, high = NULL, sketch = NULL
FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::bigint[], $6::boolean[])
    AS a (kpi, area, dim, bin, bucket, closed)
WHERE (kept.kpi, kept.area, kept.bucket, kept.dim, kept.bin) = (a.kpi, a.area, to_timestamp(a.bucket), a.dim, a.bin);

-- latest_site --
-- The newest site pack that has been registered, if any.
SELECT version, digest, pack FROM site_version ORDER BY version DESC LIMIT 1;

-- read_site --
-- One registered site pack.
SELECT version, digest, pack FROM site_version WHERE version = $1;

-- read_catalogues --
-- The texts of all catalogues that were ever registered; $1 is their file.
SELECT DISTINCT convert_from(pack, 'UTF8')::json ->> $1::text AS kpis FROM site_version;

-- register_site --
-- Registers a pack as the next version unless it is the newest already. Returns its number; null when another pack took
-- that number meanwhile.
WITH newest AS (
    SELECT version, digest FROM site_version ORDER BY version DESC LIMIT 1
), added AS (
    INSERT INTO site_version (version, digest, pack)
    SELECT coalesce((SELECT version FROM newest), 0) + 1, $1, $2
    WHERE NOT EXISTS (SELECT FROM newest WHERE digest = $1)
    ON CONFLICT (version) DO NOTHING
    RETURNING version
)
SELECT coalesce((SELECT version FROM added), (SELECT version FROM newest WHERE digest = $1)) AS version;

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
