-- What is stored of these bases ($1) in these areas ($2), stretch by stretch of time? Stretches are disjoint and ordered:
-- they start at $3 and end at $4, and each row says in which one it lies (from 1). `kpi_tier` stands for kpi_minute,
-- kpi_hour or kpi_day; the bounds $5 and $6 on `bucket` let TimescaleDB leave out whole chunks.
-- $7 is the dimension by which a row is told apart (from 1; 0: none), and $8 those whose values have to be $9.

-- held --
-- The stored rows that are asked for. The other statements read it.
SELECT * FROM (
    SELECT *, width_bucket(bucket, $3::timestamptz[]) AS stretch,
           CASE WHEN $7::int = 0 THEN '' ELSE split_part(dim, E'\x1f', $7::int) END AS word
    FROM kpi_tier
    WHERE kpi = ANY($1::text[]) AND area = ANY($2::text[]) AND bucket >= $5 AND bucket < $6
      AND NOT EXISTS (
          SELECT FROM unnest($8::int[], $9::text[]) AS wanted (at, value)
          WHERE split_part(dim, E'\x1f', wanted.at) <> wanted.value)
) AS asked
WHERE bucket < ($4::timestamptz[])[stretch]

-- read_sums --
-- One row for each base, area, stretch and dimension value, added up over shards and buckets.
SELECT kpi, area, stretch, word, sum(n)::bigint AS n, sum(total)::float8 / 1000000 AS total,
       min(low) AS low, max(high) AS high
FROM held GROUP BY kpi, area, stretch, word

-- read_sketches --
-- The same with all the sketches or histograms.
SELECT kpi, area, stretch, word, sum(n)::bigint AS n, array_agg(sketch) FILTER (WHERE sketch IS NOT NULL) AS sketches
FROM held GROUP BY kpi, area, stretch, word

-- read_latest --
-- Of each place and whole dimension value the row that was true last: [start of its bucket, when it was said, what].
SELECT kpi, area, stretch, word, dim,
       max(ARRAY[extract(epoch FROM bucket)::float8, high, total::float8 / 1000000]) AS latest
FROM held WHERE n > 0 GROUP BY kpi, area, stretch, word, dim

-- read_seen --
-- On which days, of those that begin in [$3, $4), there was anything, by area and dimension value. $5 is the dimension,
-- $6 those whose values have to be $7.
SELECT DISTINCT area, CASE WHEN $5::int = 0 THEN '' ELSE split_part(dim, E'\x1f', $5::int) END AS word,
       extract(epoch FROM bucket)::bigint AS day_s
FROM kpi_day
WHERE kpi = ANY($1::text[]) AND area = ANY($2::text[]) AND bucket >= $3 AND bucket < $4
  AND (n > 0 OR sketch IS NOT NULL)
  AND NOT EXISTS (
      SELECT FROM unnest($6::int[], $7::text[]) AS wanted (at, value)
      WHERE split_part(dim, E'\x1f', wanted.at) <> wanted.value)

-- read_events --
-- At most $4 of the kept events of a type ($1) that count and lie in the stretches that start at $2 and end at $3.
SELECT e.area, e.body, extract(epoch FROM e.window_time)::float8 AS time_s
FROM unnest($2::timestamptz[], $3::timestamptz[]) AS asked (start_at, end_at)
JOIN countable_event AS e ON e.type = $1 AND e.window_time >= asked.start_at AND e.window_time < asked.end_at
LIMIT $4

-- read_settled --
-- For each topic the moment up to which its events have come: the least of its partitions. A partition that was counted
-- to its end has come as far as the moment of that.
SELECT topic, min(greatest(watermark_s, extract(epoch FROM caught_up_at)::float8)) AS until_s
FROM position
GROUP BY topic
