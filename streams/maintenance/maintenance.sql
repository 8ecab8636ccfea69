-- How are the tables kept small? What claims a timer does its work in the same transaction, so that it is done once
-- or, when the worker dies, not at all.

-- is_due --
-- Whether a timer is due.
SELECT EXISTS (SELECT FROM timer WHERE name = $1 AND due_at <= clock_timestamp());

-- claim --
-- Holds a timer that is due until the transaction ends. No row: it is not due, or somebody else is at it.
SELECT name FROM timer WHERE name = $1 AND due_at <= clock_timestamp() FOR UPDATE SKIP LOCKED;

-- rearm --
-- The timer has run, this came of it ($3), and it is due again after $2 seconds.
UPDATE timer SET ran_at = clock_timestamp(), due_at = clock_timestamp() + make_interval(secs => $2), outcome = $3
WHERE name = $1;

-- try_fence --
-- Keeps corrections and rebuilds out until the transaction ends, if none is under way.
SELECT pg_try_advisory_xact_lock_shared($1);

-- is_repairing --
-- Whether somebody holds the lock ($1) of back-fills and rebuilds.
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND classid = 0 AND objid = $1::bigint::oid AND objsubid = 1 AND granted
);

-- try_look --
-- Whether nobody else looks for what is too old; nobody does until the transaction ends.
SELECT pg_try_advisory_xact_lock($1);

-- read_closing --
-- For each topic the moment before which nothing is waited for any more: the least of its partitions. $1 is idle_s.
SELECT topic, min(greatest(watermark_s, extract(epoch FROM caught_up_at)::float8 - $1)) AS watermark_s
FROM position
GROUP BY topic;

-- read_chunks --
-- The chunks of a tier in the order of time.
SELECT range_start, range_end FROM timescaledb_information.chunks
WHERE hypertable_schema = current_schema() AND hypertable_name = 'kpi_tier'
ORDER BY range_start;

-- read_compacted --
-- How far each tier and base has been merged.
SELECT tier, kpi, extract(epoch FROM compacted_until)::float8 AS until_s FROM compaction;

-- note_compacted --
-- Notes how far tiers and bases have been merged.
INSERT INTO compaction (tier, kpi, compacted_until)
SELECT tier, kpi, to_timestamp(until_s) FROM unnest($1::text[], $2::text[], $3::float8[]) AS reached (tier, kpi, until_s)
ON CONFLICT (tier, kpi) DO UPDATE SET compacted_until = excluded.compacted_until;

-- scattered --
-- At most $5 keys of a base in these areas that lie in several rows, of the buckets that start in [$3, $4).
SELECT kpi, area, bucket, dim, bin FROM kpi_tier
WHERE kpi = $1 AND area = ANY($2::text[]) AND bucket >= $3 AND bucket < $4
GROUP BY kpi, area, bucket, dim, bin
HAVING count(*) > 1
LIMIT $5;

-- left_over --
-- The keys of at most $3 rows of these bases ($1), in buckets that start before their moments ($2), which came after
-- their keys may have been merged.
SELECT DISTINCT kpi, area, bucket, dim, bin
FROM (
    SELECT k.kpi, k.area, k.bucket, k.dim, k.bin
    FROM unnest($1::text[], $2::timestamptz[]) AS asked (kpi, before)
    JOIN kpi_tier AS k ON k.kpi = asked.kpi AND k.bucket < asked.before
    WHERE k.shard >= 0 AND (k.shard >= 1000 OR k.corrected_at IS NOT NULL)
    LIMIT $3
) AS late;

-- merge_sums --
-- Merges the rows of these keys into one of shard -1; the keys' buckets start in [$6, $7]. A row that somebody is
-- changing stays as it is. One that nobody corrected since its bucket closed has closed with what it holds.
WITH asked AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::integer[])
        AS key (kpi, area, bucket, dim, bin)
), held AS MATERIALIZED (
    SELECT k.* FROM asked JOIN kpi_tier AS k USING (kpi, area, bucket, dim, bin)
    WHERE k.bucket >= $6 AND k.bucket <= $7 AND k.sketch IS NULL AND k.first_sketch IS NULL
    FOR UPDATE OF k SKIP LOCKED
), gone AS (
    DELETE FROM kpi_tier AS k USING held
    WHERE k.bucket >= $6 AND k.bucket <= $7 AND held.shard <> -1
        AND (k.kpi, k.area, k.bucket, k.dim, k.bin, k.shard)
            = (held.kpi, held.area, held.bucket, held.dim, held.bin, held.shard)
), closed AS (
    SELECT *,
        CASE WHEN first_n IS NULL THEN n ELSE first_n END AS closed_n,
        CASE WHEN first_n IS NULL THEN total ELSE first_total END AS closed_total,
        CASE WHEN first_n IS NULL THEN low ELSE first_low END AS closed_low,
        CASE WHEN first_n IS NULL THEN high ELSE first_high END AS closed_high
    FROM held
), merged AS (
    SELECT kpi, area, bucket, dim, bin, sum(n)::bigint AS n, min(low) AS low, max(high) AS high,
        CASE WHEN bin > -2147483648 THEN sum(total) ELSE coalesce(
            (array_agg(total ORDER BY high DESC, total DESC) FILTER (WHERE high IS NOT NULL))[1], 0) END AS total,
        bool_or(first_n IS NOT NULL) AS is_corrected, max(corrected_at) AS corrected_at,
        sum(closed_n)::bigint AS first_n, min(closed_low) AS first_low, max(closed_high) AS first_high,
        CASE WHEN bin > -2147483648 THEN sum(closed_total) ELSE coalesce(
            (array_agg(closed_total ORDER BY closed_high DESC, closed_total DESC)
                FILTER (WHERE closed_high IS NOT NULL))[1], 0) END AS first_total
    FROM closed GROUP BY kpi, area, bucket, dim, bin
)
INSERT INTO kpi_tier AS kept (kpi, area, bucket, dim, bin, shard, n, total, low, high,
                              first_n, first_total, first_low, first_high, corrected_at)
SELECT kpi, area, bucket, dim, bin, -1, n, total, low, high,
    CASE WHEN is_corrected THEN first_n END, CASE WHEN is_corrected THEN first_total END,
    CASE WHEN is_corrected THEN first_low END, CASE WHEN is_corrected THEN first_high END, corrected_at
FROM merged
ON CONFLICT (kpi, area, bucket, dim, bin, shard) DO UPDATE
SET n = excluded.n, total = excluded.total, low = excluded.low, high = excluded.high,
    first_n = excluded.first_n, first_total = excluded.first_total, first_low = excluded.first_low,
    first_high = excluded.first_high, corrected_at = excluded.corrected_at;

-- hold --
-- Holds the rows of these keys, whose buckets start in [$6, $7], but for those that somebody is changing.
SELECT k.kpi, k.area, k.bucket, k.dim, k.bin, k.shard, k.n, k.total, k.low, k.high, k.sketch,
    k.first_n, k.first_total, k.first_low, k.first_high, k.first_sketch, k.corrected_at
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::integer[])
    AS asked (kpi, area, bucket, dim, bin)
JOIN kpi_tier AS k USING (kpi, area, bucket, dim, bin)
WHERE k.bucket >= $6 AND k.bucket <= $7
FOR UPDATE OF k SKIP LOCKED;

-- remove --
-- Removes rows that are held.
DELETE FROM kpi_tier AS k
USING unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::integer[], $6::integer[])
    AS held (kpi, area, bucket, dim, bin, shard)
WHERE k.bucket >= $7 AND k.bucket <= $8
    AND (k.kpi, k.area, k.bucket, k.dim, k.bin, k.shard)
        = (held.kpi, held.area, held.bucket, held.dim, held.bin, held.shard);

-- put --
-- Puts merged rows where the held ones were.
INSERT INTO kpi_tier (kpi, area, bucket, dim, bin, shard, n, total, low, high, sketch,
                      first_n, first_total, first_low, first_high, first_sketch, corrected_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::integer[], $6::integer[],
                     $7::bigint[], $8::numeric[], $9::float8[], $10::float8[], $11::bytea[],
                     $12::bigint[], $13::numeric[], $14::float8[], $15::float8[], $16::bytea[], $17::timestamptz[]);

-- behind --
-- The bases of which [$4, $5) of a tier holds more than the next one, `kpi_coarser`, in some area on some local day; of
-- different ones, which are not counted, whether it holds any. Areas ($1) have their zones ($2), others $3. A coarser
-- bucket may begin up to $6 before. What was corrected at $7 or later tells nothing: a correction of what is beyond the
-- retention changes the coarser buckets alone.
WITH zoned AS (
    SELECT * FROM unnest($1::text[], $2::text[]) AS one (area, zone)
), finer AS (
    SELECT kpi, area, day, sum(n) AS n, bool_or(sketch IS NOT NULL) AS has_sketch
    FROM (
        SELECT kpi, area, date_trunc('day', bucket AT TIME ZONE coalesce(zone, $3)) AS day, n, sketch
        FROM kpi_tier LEFT JOIN zoned USING (area) WHERE bucket >= $4 AND bucket < $5
    ) AS held GROUP BY kpi, area, day
), coarser AS (
    SELECT kpi, area, day, sum(n) AS n, bool_or(sketch IS NOT NULL) AS has_sketch, max(corrected_at) AS corrected_at
    FROM (
        SELECT kpi, area, date_trunc('day', bucket AT TIME ZONE coalesce(zone, $3)) AS day, n, sketch, corrected_at
        FROM kpi_coarser LEFT JOIN zoned USING (area)
        WHERE bucket > $4 - make_interval(secs => $6) AND bucket < $5
    ) AS held GROUP BY kpi, area, day
)
SELECT DISTINCT kpi FROM finer LEFT JOIN coarser USING (kpi, area, day)
WHERE (finer.n > coalesce(coarser.n, 0) OR (finer.has_sketch AND coarser.has_sketch IS NOT TRUE))
    AND (coarser.corrected_at IS NULL OR coarser.corrected_at < $7)
ORDER BY kpi;

-- read_unfinished --
-- Since when buckets are being filled back; null: since ever. No row: no back-fill is unfinished.
SELECT since FROM backfill WHERE next_offset < stop_offset ORDER BY since NULLS FIRST LIMIT 1;

-- wait_briefly --
-- In this transaction who would have to wait longer for a lock gives up: others queue up behind him.
SELECT set_config('lock_timeout', $1, true);

-- drop_chunk --
-- Drops the chunk [$1, $2) of a tier.
SELECT drop_chunks('kpi_tier', newer_than => $1::timestamptz, older_than => $2::timestamptz);

-- reserve --
-- Makes the chunk that holds a moment. `release` has to follow in the same transaction, so nobody sees the row.
INSERT INTO kpi_tier (kpi, area, bucket, dim, bin, shard, n, total) VALUES ('', '', $1, '', 0, -1, 0, 0);

-- release --
-- Takes away what `reserve` has put in; the chunk stays.
DELETE FROM kpi_tier WHERE kpi = '' AND area = '' AND bucket = $1;

-- is_touched --
-- Whether the timer ($1) of adding up is due, and there is something to add up.
SELECT EXISTS (SELECT FROM timer WHERE name = $1 AND due_at <= clock_timestamp())
    AND EXISTS (SELECT FROM latest_touched);

-- read_touched --
-- The bases and areas that were touched, at most $1, and the first and the last of their buckets; those that have waited
-- longest come first.
SELECT kpi, area, min(bucket) AS first, max(bucket) AS last FROM latest_touched
GROUP BY kpi, area ORDER BY min(writer) LIMIT $1;

-- read_standing --
-- The first bucket of a base and area whose rows a change in bucket $3 can concern: of those that stood until then or
-- beyond. $3 itself when there is none.
SELECT coalesce(min(bucket), $3) FROM latest_across
WHERE kpi = $1 AND area = $2 AND bucket < $3 AND greatest(until, first_until) >= $3;

-- take_across --
-- Forgets what was added up of a base and area in the buckets [$3, $4].
DELETE FROM latest_across WHERE kpi = $1 AND area = $2 AND bucket >= $3 AND bucket <= $4;

-- put_across --
-- Adds up the rows of a base in an area, but for what the area said of itself, in the buckets [$3, $4]; how long each
-- stands is looked for as far as $5 ahead. Of what lies in the rows of several partitions the one that was said last holds.
WITH said AS (
    SELECT bucket, dim, max(corrected_at) AS corrected_at,
        (array_agg(total ORDER BY high DESC, total DESC) FILTER (WHERE n > 0))[1] AS total,
        (array_agg(closed_total ORDER BY closed_high DESC, closed_total DESC) FILTER (WHERE closed_n > 0))[1]
            AS first_total
    FROM (
        SELECT bucket, dim, n, total, high, corrected_at,
            CASE WHEN first_n IS NULL THEN n ELSE first_n END AS closed_n,
            CASE WHEN first_n IS NULL THEN total ELSE first_total END AS closed_total,
            CASE WHEN first_n IS NULL THEN high ELSE first_high END AS closed_high
        FROM kpi_day
        WHERE kpi = $1 AND area = $2 AND bucket >= $3 AND bucket <= $4::timestamptz + $5::interval
            AND bin = -2147483648 AND split_part(dim, E'\x1f', -1) <> area
    ) AS held
    GROUP BY bucket, dim
), followed AS (
    -- From the newest to the oldest, the least bucket so far is the next one.
    SELECT *,
        min(bucket) FILTER (WHERE total IS NOT NULL) OVER later AS next,
        min(bucket) FILTER (WHERE first_total IS NOT NULL) OVER later AS first_next
    FROM said
    WINDOW later AS (PARTITION BY dim ORDER BY bucket DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
INSERT INTO latest_across (kpi, area, bucket, words, until, is_open, first_until, first_is_open,
                           n, total, low, high, first_n, first_total, first_low, first_high, corrected_at)
SELECT $1, $2, bucket, left(dim, greatest(length(dim) - length(split_part(dim, E'\x1f', -1)) - 1, 0)) AS words,
    coalesce(next, bucket + $5), next IS NULL, coalesce(first_next, bucket + $5), first_next IS NULL,
    count(total), sum(total), min(total), max(total),
    count(first_total), sum(first_total), min(first_total), max(first_total), max(corrected_at)
FROM followed WHERE bucket <= $4
GROUP BY bucket, words, next, first_next;

-- unmark --
-- The buckets [$3, $4] of a base and area are added up as this transaction sees them. The marks of whom it does not see
-- stay.
DELETE FROM latest_touched WHERE kpi = $1 AND area = $2 AND bucket >= $3 AND bucket <= $4;

-- note_closed --
-- Notes up to when each topic has closed now: the least of its partitions, less the grace ($2). A partition that was
-- counted to its end ($1 ago at least) is not waited for. A note that is younger than $3 seconds does; so does one that
-- says the same, but for once an hour: how far the notes reach has to be seen.
INSERT INTO closed_until (topic, at, closed_s)
SELECT now.topic, clock_timestamp(), now.closed_s
FROM (
    SELECT topic, min(greatest(watermark_s, extract(epoch FROM caught_up_at)::float8 - $1)) - $2 AS closed_s
    FROM position GROUP BY topic
) AS now
LEFT JOIN LATERAL (
    SELECT c.at, c.closed_s FROM closed_until AS c WHERE c.topic = now.topic ORDER BY c.at DESC LIMIT 1
) AS last ON true
WHERE last.at IS NULL OR (
    last.at < clock_timestamp() - make_interval(secs => $3)
    AND (last.closed_s <> now.closed_s OR last.at < clock_timestamp() - INTERVAL '1 hour')
);

-- raise_floor --
-- The past of these concepts ($1) begins no earlier than so long ago ($2).
UPDATE history_floor AS f SET since = clock_timestamp() - kept.age
FROM unnest($1::text[], $2::interval[]) AS kept (concept, age)
WHERE f.concept = kept.concept AND f.since < clock_timestamp() - kept.age;

-- forget_cases --
-- Forgets at most $1 versions of cases that were replaced before the past of cases begins.
DELETE FROM case_version WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM case_version
    WHERE until_at < (SELECT since FROM history_floor WHERE concept = 'cases') ORDER BY until_at LIMIT $1
));

-- forget_units --
-- The same of units.
DELETE FROM unit_version WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM unit_version
    WHERE until_at < (SELECT since FROM history_floor WHERE concept = 'units') ORDER BY until_at LIMIT $1
));

-- forget_closed --
-- The same of what had closed. The last note before the past begins says what had closed then.
DELETE FROM closed_until WHERE (topic, at) IN (
    SELECT c.topic, c.at FROM closed_until AS c
    WHERE c.at < (
        SELECT max(k.at) FROM closed_until AS k
        WHERE k.topic = c.topic AND k.at <= (SELECT since FROM history_floor WHERE concept = 'closing')
    )
    ORDER BY c.at LIMIT $1
);
