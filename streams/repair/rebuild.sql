-- How are buckets counted beside the live ones, and put in their place? Used by a rebuild alone.
--
-- The tables beside are temporary ones of the same names, which a session finds first: what adds cells to the live tables
-- adds them here, and whatever ends the session leaves nothing behind. The live tables are called public.

-- prepare --
-- The tables of one rebuild besides the cells' own. `repaired_…` say what it is about.
CREATE TEMP TABLE repaired_kpi (kpi text PRIMARY KEY, is_reported boolean NOT NULL);
CREATE TEMP TABLE repaired_area (
    area text PRIMARY KEY, zone text NOT NULL,
    kpi_minute_from timestamptz NOT NULL, kpi_hour_from timestamptz NOT NULL, kpi_day_from timestamptz NOT NULL
);
CREATE TEMP TABLE repaired_shard (
    kpi text, shard integer, zone text,
    kpi_minute_closed timestamptz, kpi_hour_closed timestamptz, kpi_day_closed timestamptz,
    PRIMARY KEY (kpi, shard, zone)
);
CREATE TEMP TABLE counted_event (source text, id text, PRIMARY KEY (source, id));
CREATE TEMP TABLE fresh_event (ordinal bigint PRIMARY KEY, source text NOT NULL, id text NOT NULL);

-- prepare_tier --
-- The cells counted anew, those that they replace, and which sketches that differ have seen equally many.
CREATE TEMP TABLE kpi_tier (LIKE public.kpi_tier INCLUDING ALL);
CREATE TEMP TABLE old_kpi_tier (LIKE public.kpi_tier INCLUDING ALL);
CREATE TEMP TABLE changed_kpi_tier (
    kpi text, area text, bucket timestamptz, dim text, bin integer, was_there boolean, was_merged boolean,
    PRIMARY KEY (kpi, area, bucket, dim, bin)
);
CREATE TEMP TABLE judged_kpi_tier (
    kpi text, area text, bucket timestamptz, dim text, old_digest text, new_digest text, is_alike boolean NOT NULL,
    PRIMARY KEY (kpi, area, bucket, dim, old_digest, new_digest)
);

-- add_kpis --
INSERT INTO repaired_kpi SELECT * FROM unnest($1::text[], $2::boolean[]);

-- add_areas --
INSERT INTO repaired_area
SELECT area, zone, to_timestamp(minute_s), to_timestamp(hour_s), to_timestamp(day_s)
FROM unnest($1::text[], $2::text[], $3::double precision[], $4::double precision[], $5::double precision[])
    AS a (area, zone, minute_s, hour_s, day_s);

-- add_shards --
-- Before which moments the buckets of a shard are closed.
INSERT INTO repaired_shard
SELECT kpi, shard, zone, to_timestamp(minute_s), to_timestamp(hour_s), to_timestamp(day_s)
FROM unnest($1::text[], $2::integer[], $3::text[],
            $4::double precision[], $5::double precision[], $6::double precision[])
    AS a (kpi, shard, zone, minute_s, hour_s, day_s);

-- find_fresh --
-- Notes the events of these types from $2 on that count and are not counted here yet, in the order of the log.
INSERT INTO fresh_event
SELECT row_number() OVER (ORDER BY e.topic, e.partition, e."offset"), e.source, e.id
FROM countable_event AS e
WHERE e.type = ANY($1::text[]) AND e.window_time >= $2
    AND NOT EXISTS (SELECT FROM counted_event AS c WHERE (c.source, c.id) = (e.source, e.id));

-- read_fresh --
-- Those of [$1, $2).
SELECT e.source, e.id, e.area, e.located, e.window_time, e.partition, e."offset", e.body
FROM fresh_event AS f JOIN event AS e USING (source, id)
WHERE f.ordinal >= $1 AND f.ordinal < $2 ORDER BY f.ordinal;

-- keep_fresh --
WITH kept AS (DELETE FROM fresh_event RETURNING source, id)
INSERT INTO counted_event SELECT source, id FROM kept;

-- take_gone --
-- The events that are counted here and count no longer; here they are not from now on.
WITH gone AS (
    DELETE FROM counted_event AS c
    WHERE NOT EXISTS (SELECT FROM countable_event AS e WHERE (e.source, e.id) = (c.source, c.id))
    RETURNING source, id
)
SELECT e.source, e.id, e.area, e.located, e.window_time, e.partition, e."offset", e.body
FROM gone JOIN event AS e USING (source, id);

-- read_counted --
-- The events of a type that are counted here and belong to [$2, $3).
SELECT e.source, e.id, e.area, e.located, e.window_time, e.partition, e."offset", e.body
FROM counted_event AS c JOIN event AS e USING (source, id)
WHERE e.type = $1 AND e.window_time >= $2 AND e.window_time < $3;

-- read_unlike --
-- The sketches of the buckets in which those counted anew are not byte by byte the live ones. A sketch's bytes depend on
-- the order of what it has seen.
WITH old AS (
    SELECT k.kpi, k.area, k.bucket, k.dim, array_agg(k.sketch) AS sketches,
           md5(string_agg(k.sketch, ''::bytea ORDER BY k.sketch)) AS digest
    FROM public.kpi_tier AS k JOIN repaired_kpi AS i USING (kpi) JOIN repaired_area AS a USING (area)
    WHERE k.bucket >= a.kpi_tier_from AND k.bucket >= $1 AND k.sketch IS NOT NULL
    GROUP BY k.kpi, k.area, k.bucket, k.dim
), new AS (
    SELECT kpi, area, bucket, dim, array_agg(sketch) AS sketches,
           md5(string_agg(sketch, ''::bytea ORDER BY sketch)) AS digest
    FROM pg_temp.kpi_tier WHERE sketch IS NOT NULL
    GROUP BY kpi, area, bucket, dim
)
SELECT kpi, area, bucket, dim, old.digest AS old_digest, new.digest AS new_digest,
       old.sketches AS old_sketches, new.sketches AS new_sketches
FROM old JOIN new USING (kpi, area, bucket, dim)
WHERE old.digest <> new.digest AND NOT EXISTS (
    SELECT FROM judged_kpi_tier AS j
    WHERE (j.kpi, j.area, j.bucket, j.dim, j.old_digest, j.new_digest)
        = (old.kpi, old.area, old.bucket, old.dim, old.digest, new.digest)
);

-- judge --
INSERT INTO judged_kpi_tier VALUES ($1, $2, $3, $4, $5, $6, $7);

-- find_changed --
-- Notes the buckets that hold something else than was counted anew. $1 is the earliest of them.
WITH both_sides AS (
    SELECT kpi, area, bucket, dim, bin, n, total, low, high, sketch, true AS is_new, NULL::bigint AS first_n,
           false AS is_merged
    FROM pg_temp.kpi_tier
    UNION ALL
    SELECT kpi, area, k.bucket, k.dim, k.bin, k.n, k.total, k.low, k.high, k.sketch, false, k.first_n, k.shard = -1
    FROM public.kpi_tier AS k JOIN repaired_kpi AS i USING (kpi) JOIN repaired_area AS a USING (area)
    WHERE k.bucket >= a.kpi_tier_from AND k.bucket >= $1
), summed AS (
    SELECT kpi, area, bucket, dim, bin, bool_or(is_merged) AS was_merged,
           bool_or(NOT is_new AND (n <> 0 OR sketch IS NOT NULL OR first_n IS NOT NULL)) AS was_there,
           coalesce(sum(n) FILTER (WHERE is_new), 0) AS new_n,
           coalesce(sum(n) FILTER (WHERE NOT is_new), 0) AS old_n,
           CASE WHEN bin > -2147483648 THEN coalesce(sum(total) FILTER (WHERE is_new), 0)
                ELSE (array_agg(total ORDER BY high DESC, total DESC) FILTER (WHERE is_new AND n <> 0))[1]
                END AS new_total,
           CASE WHEN bin > -2147483648 THEN coalesce(sum(total) FILTER (WHERE NOT is_new), 0)
                ELSE (array_agg(total ORDER BY high DESC, total DESC) FILTER (WHERE NOT is_new AND n <> 0))[1]
                END AS old_total,
           min(low) FILTER (WHERE is_new) AS new_low, min(low) FILTER (WHERE NOT is_new) AS old_low,
           max(high) FILTER (WHERE is_new) AS new_high, max(high) FILTER (WHERE NOT is_new) AS old_high,
           md5(string_agg(sketch, ''::bytea ORDER BY sketch) FILTER (WHERE is_new)) AS new_digest,
           md5(string_agg(sketch, ''::bytea ORDER BY sketch) FILTER (WHERE NOT is_new)) AS old_digest
    FROM both_sides GROUP BY kpi, area, bucket, dim, bin
)
INSERT INTO changed_kpi_tier
SELECT kpi, area, bucket, dim, bin, was_there, was_merged
FROM summed LEFT JOIN judged_kpi_tier AS j USING (kpi, area, bucket, dim, old_digest, new_digest)
WHERE (new_n, new_total, new_low, new_high) IS DISTINCT FROM (old_n, old_total, old_low, old_high)
    OR (new_digest IS DISTINCT FROM old_digest AND NOT coalesce(j.is_alike, false));

-- read_changed --
-- The first and the last of the buckets that have changed; null where none has.
SELECT min(bucket) AS first, max(bucket) AS last FROM changed_kpi_tier;

-- take_old --
-- Takes the live rows of changed buckets, which start in [$1, $2], out of their table.
WITH gone AS (
    DELETE FROM public.kpi_tier AS k USING changed_kpi_tier AS c
    WHERE (k.kpi, k.area, k.bucket, k.dim, k.bin) = (c.kpi, c.area, c.bucket, c.dim, c.bin)
        AND k.bucket >= $1 AND k.bucket <= $2
    RETURNING k.*
)
INSERT INTO old_kpi_tier SELECT * FROM gone;

-- analyze --
-- Nobody else tells the planner about temporary tables.
ANALYZE pg_temp.kpi_tier, judged_kpi_tier, changed_kpi_tier, repaired_kpi, repaired_area, repaired_shard;

-- drop_old --
-- Forgets all that is stored of the indicators.
DELETE FROM public.kpi_tier AS k USING repaired_kpi AS i WHERE k.kpi = i.kpi;

-- put_new --
-- Puts the rows counted anew in the place of those taken out. What a closed bucket held when it closed is never counted
-- anew: every row keeps it, and `corrected_at` says since when it is something else.
WITH new AS (
    SELECT k.* FROM pg_temp.kpi_tier AS k JOIN changed_kpi_tier AS c USING (kpi, area, bucket, dim, bin)
)
INSERT INTO public.kpi_tier (kpi, area, bucket, dim, bin, shard, n, total, low, high, sketch,
                             first_n, first_total, first_low, first_high, first_sketch, corrected_at)
SELECT kpi, area, bucket, dim, bin, shard,
       coalesce(new.n, 0), coalesce(new.total, 0), new.low, new.high, new.sketch,
       CASE WHEN keeps THEN coalesce(old.first_n, old.n, 0) END,
       CASE WHEN keeps THEN coalesce(CASE WHEN old.first_n IS NULL THEN old.total ELSE old.first_total END, 0) END,
       CASE WHEN keeps THEN CASE WHEN old.first_n IS NULL THEN old.low ELSE old.first_low END END,
       CASE WHEN keeps THEN CASE WHEN old.first_n IS NULL THEN old.high ELSE old.first_high END END,
       CASE WHEN keeps THEN CASE WHEN old.first_n IS NULL THEN old.sketch ELSE old.first_sketch END END,
       CASE WHEN keeps THEN clock_timestamp() END
FROM new
FULL JOIN old_kpi_tier AS old USING (kpi, area, bucket, dim, bin, shard)
JOIN changed_kpi_tier AS c USING (kpi, area, bucket, dim, bin)
JOIN repaired_kpi AS i USING (kpi)
JOIN repaired_area AS a USING (area)
LEFT JOIN repaired_shard AS s USING (kpi, shard, zone)
CROSS JOIN LATERAL (
    -- The first report of a period closes its bucket; where there was none, nothing was closed. Only buckets that have
    -- closed are merged into shard -1, which then holds what the rows of all partitions closed with.
    SELECT CASE WHEN i.is_reported THEN c.was_there
                ELSE c.was_merged OR coalesce(bucket < s.kpi_tier_closed, false) END AS keeps
) AS k
WHERE keeps OR new.n <> 0 OR new.sketch IS NOT NULL;

-- adopt_events --
-- The events of these types in the buckets that were counted anew were counted by this version. Those in areas that it does
-- not know it has left out, from the root area's ($3) first day on: nothing is taken away when they are withdrawn.
UPDATE event AS e SET site_version = $1
WHERE e.type = ANY($2::text[]) AND e.site_version < $1 AND e.window_time >= (
    SELECT kpi_day_from FROM repaired_area WHERE area IN (e.area, $3) ORDER BY area = e.area DESC LIMIT 1
);

-- read_counted_by --
-- Which versions before $1 have counted events of these types from $3 on, and in which areas.
SELECT DISTINCT site_version, area FROM event
WHERE type = ANY($2::text[]) AND window_time >= $3 AND site_version < $1;

-- merge_again --
-- Lets the rows of these bases be merged again from a moment on.
UPDATE compaction SET compacted_until = least(compacted_until, $2) WHERE kpi = ANY($1::text[]);
