-- What KPIs were, bucket by bucket. `kpi_tier` stands for kpi_minute, kpi_hour or kpi_day.
-- The bounds on `bucket` let TimescaleDB leave out whole chunks.

-- read_range --
-- One series over [start, end): a row for each bucket, dimension value and sketch bin, added up over the shards.
SELECT extract(epoch FROM bucket)::bigint AS bucket_s, dim, bin,
       sum(n)::bigint AS n, sum(total) AS total, min(low) AS low, max(high) AS high
FROM kpi_tier
WHERE kpi = $1 AND area = $2 AND bucket >= $3 AND bucket < $4 AND ($5::text IS NULL OR dim = $5)
GROUP BY bucket, dim, bin

-- read_many_ranges --
-- Several series over [start, end): a row for each bucket and sketch bin, added up over dimensions and shards.
SELECT kpi, area, extract(epoch FROM bucket)::bigint AS bucket_s, bin,
       sum(n)::bigint AS n, sum(total) AS total, min(low) AS low, max(high) AS high
FROM kpi_tier
WHERE kpi = ANY($1::text[]) AND area = ANY($2::text[]) AND bucket >= $3 AND bucket < $4
GROUP BY kpi, area, bucket, bin

-- read_points --
-- The named buckets, in the same form. LATERAL makes it one look-up for each, whatever the planner thinks of sizes.
SELECT wanted.kpi, wanted.area, extract(epoch FROM wanted.bucket)::bigint AS bucket_s,
       found.bin, found.n, found.total, found.low, found.high
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS wanted (kpi, area, bucket)
CROSS JOIN LATERAL (
    SELECT bin, sum(n)::bigint AS n, sum(total) AS total, min(low) AS low, max(high) AS high
    FROM kpi_tier AS k
    WHERE k.kpi = wanted.kpi AND k.area = wanted.area AND k.bucket = wanted.bucket
      AND k.bucket >= $4 AND k.bucket <= $5
    GROUP BY bin
) AS found

-- read_last_minutes --
-- The latest minute since $3 in which each of these KPIs had events in each of these areas; no row when there is none.
SELECT wanted.kpi, wanted.area, extract(epoch FROM latest.bucket)::bigint AS minute_s
FROM unnest($1::text[]) AS wanted_kpi (kpi)
CROSS JOIN unnest($2::text[]) AS wanted_area (area)
CROSS JOIN LATERAL (SELECT wanted_kpi.kpi, wanted_area.area) AS wanted
CROSS JOIN LATERAL (
    SELECT k.bucket FROM kpi_minute AS k
    WHERE k.kpi = wanted.kpi AND k.area = wanted.area AND k.bucket >= $3 AND k.bucket < $4
    ORDER BY k.bucket DESC LIMIT 1
) AS latest
