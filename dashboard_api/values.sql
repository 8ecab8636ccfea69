-- What was added up for these bases ($1) in these areas ($2), piece by piece of time? Pieces are disjoint and ordered:
-- they start at $3 and end at $4, and each row says in which one it lies (from 1). `kpi_tier` stands for kpi_minute,
-- kpi_hour or kpi_day; the bounds $5 and $6 on `bucket` let TimescaleDB leave out whole chunks.
-- $7 is which of its dimensions a row is told apart by (from 1; 0: none), and $8 the values ($9) that others must have.
-- `first_…` is what there was when the buckets closed; of one that has not changed since, what there is.

-- held --
-- The stored rows that are asked for, each with its piece and with the dimension value by which it is told apart. The
-- other statements read it.
SELECT * FROM (
    SELECT *, width_bucket(bucket, $3::timestamptz[]) AS piece,
           CASE WHEN $7::int = 0 THEN '' ELSE split_part(dim, E'\x1f', $7::int) END AS word
    FROM kpi_tier
    WHERE kpi = ANY($1::text[]) AND area = ANY($2::text[]) AND bucket >= $5 AND bucket < $6
      AND ($8::int[] = '{}' OR NOT EXISTS (
          SELECT FROM unnest($8::int[], $9::text[]) AS wanted (at, value)
          WHERE split_part(dim, E'\x1f', wanted.at) <> wanted.value))
) AS asked
WHERE bucket < ($4::timestamptz[])[piece]

-- read_sums --
-- One row for each base, area, piece, dimension value and sketch bin, added up over shards and buckets. What was first
-- there comes as the difference (`n_less`, `total_less`), for hardly any row has one; extremes have none.
SELECT kpi, area, piece, word AS dim, bin,
       sum(n)::bigint AS n, sum(total)::float8 / 1000000 AS total, min(low) AS low, max(high) AS high,
       max(corrected_at) AS corrected_at,
       sum(n - first_n) FILTER (WHERE first_n IS NOT NULL)::bigint AS n_less,
       sum(total - first_total) FILTER (WHERE first_n IS NOT NULL)::float8 / 1000000 AS total_less,
       min(CASE WHEN first_n IS NULL THEN low ELSE first_low END) AS first_low,
       max(CASE WHEN first_n IS NULL THEN high ELSE first_high END) AS first_high
FROM held
GROUP BY kpi, area, piece, word, bin

-- read_sketches --
-- The same with all the sketches or histograms: `sketches` of now, `unchanged` says which of them are still as they
-- closed, and `first_sketches` what the others closed with.
SELECT kpi, area, piece, word AS dim, sum(n)::bigint AS n, max(corrected_at) AS corrected_at,
       sum(CASE WHEN first_n IS NULL THEN n ELSE first_n END)::bigint AS first_n,
       array_agg(sketch) AS sketches, array_agg(first_n IS NULL) AS unchanged,
       array_agg(first_sketch) FILTER (WHERE first_n IS NOT NULL) AS first_sketches
FROM held
GROUP BY kpi, area, piece, word

-- read_latest --
-- Of each dimension value and place the row that was true last: [start of the bucket, when it was said, what]. The later
-- bucket wins, and only within one what was said later: a period that is reported again does not become the newest one.
-- `whole_dim` is the whole key; `first_latest` is told where something was corrected. What a row says is put into an array
-- once, which OFFSET sees to.
SELECT kpi, area, piece, word AS dim, dim AS whole_dim,
       max(said) FILTER (WHERE n > 0) AS latest,
       max(corrected_at) AS corrected_at,
       CASE WHEN max(corrected_at) IS NOT NULL THEN
           max(CASE WHEN first_n IS NULL THEN said
                    ELSE ARRAY[date_part('epoch', bucket), first_high, first_total::float8 / 1000000] END)
               FILTER (WHERE CASE WHEN first_n IS NULL THEN n ELSE first_n END > 0)
           END AS first_latest
FROM (SELECT *, ARRAY[date_part('epoch', bucket), high, total::float8 / 1000000] AS said FROM held OFFSET 0) AS told
GROUP BY kpi, area, piece, word, dim

-- read_places --
-- The same for pieces that are whole intervals: only what was said counts, and not when.
SELECT kpi, area, piece, word, dim, max(corrected_at) AS corrected_at,
       (array_agg(total ORDER BY bucket DESC, high DESC, total DESC) FILTER (WHERE n > 0))[1] AS total,
       (array_agg(CASE WHEN first_n IS NULL THEN total ELSE first_total END
                  ORDER BY bucket DESC, CASE WHEN first_n IS NULL THEN high ELSE first_high END DESC,
                           CASE WHEN first_n IS NULL THEN total ELSE first_total END DESC)
           FILTER (WHERE CASE WHEN first_n IS NULL THEN n ELSE first_n END > 0))[1] AS first_total
FROM held
GROUP BY kpi, area, piece, word, dim

-- read_across --
-- Of each dimension value what the places (of `read_places`) together said last, those below the area apart from what the
-- area said of itself (`is_own`). [how many, sum, least, most], the sum exact whatever the order.
SELECT kpi, area, piece, word AS dim, split_part(dim, E'\x1f', -1) = area AS is_own,
       ARRAY[count(total), sum(total)::float8 / 1000000, min(total)::float8 / 1000000,
             max(total)::float8 / 1000000] AS across,
       max(corrected_at) AS corrected_at,
       ARRAY[count(first_total), sum(first_total)::float8 / 1000000, min(first_total)::float8 / 1000000,
             max(first_total)::float8 / 1000000] AS first_across
FROM places
GROUP BY kpi, area, piece, word, is_own

-- own --
-- Of the rows that are `asked` for what areas said of themselves.
SELECT * FROM asked WHERE bin = -2147483648 AND split_part(dim, E'\x1f', -1) = area

-- below --
-- Of the rows that are `asked` for those of places below, of one `pair` of a base and an area.
SELECT * FROM asked WHERE kpi = pair.kpi AND area = pair.area AND split_part(dim, E'\x1f', -1) <> area

-- each_pair --
-- `found` of each pair of a base ($10) and an area ($11), one by one: their rows are sorted in memory.
SELECT found.* FROM unnest($10::text[], $11::text[]) AS pair (kpi, area) CROSS JOIN LATERAL

-- read_below --
-- What `read_across` gives of the places below areas, from what `streams` has put together of their days. Where a bucket
-- has changed since (`unsure`), or a piece reaches further than anybody has looked, a row without figures says so: there
-- the rows have to be read. Where there is nothing at all, there are no places below.
WITH asked AS MATERIALIZED (
    SELECT *, ($4::timestamptz[])[piece] AS stop FROM (
        SELECT *, width_bucket(bucket, $3::timestamptz[]) AS piece,
               CASE WHEN $7::int = 0 THEN '' ELSE split_part(words, E'\x1f', $7::int) END AS word
        FROM latest_across
        WHERE kpi = ANY($1::text[]) AND area = ANY($2::text[]) AND bucket >= $5 AND bucket < $6
          AND ($8::int[] = '{}' OR NOT EXISTS (
              SELECT FROM unnest($8::int[], $9::text[]) AS wanted (at, value)
              WHERE split_part(words, E'\x1f', wanted.at) <> wanted.value))
    ) AS stored
    WHERE bucket < ($4::timestamptz[])[piece]
), unsure AS MATERIALIZED (
    SELECT kpi, area FROM latest_touched
    WHERE kpi = ANY($1::text[]) AND area = ANY($2::text[]) AND bucket >= $5 AND bucket < $6
    UNION
    SELECT kpi, area FROM asked WHERE (is_open AND until < stop) OR (first_is_open AND first_until < stop)
)
SELECT kpi, area, piece, word AS dim, false AS is_own,
       ARRAY[sum(n) FILTER (WHERE until >= stop), sum(total) FILTER (WHERE until >= stop)::float8 / 1000000,
             min(low) FILTER (WHERE until >= stop)::float8 / 1000000,
             max(high) FILTER (WHERE until >= stop)::float8 / 1000000] AS across,
       max(corrected_at) AS corrected_at,
       ARRAY[sum(first_n) FILTER (WHERE first_until >= stop),
             sum(first_total) FILTER (WHERE first_until >= stop)::float8 / 1000000,
             min(first_low) FILTER (WHERE first_until >= stop)::float8 / 1000000,
             max(first_high) FILTER (WHERE first_until >= stop)::float8 / 1000000] AS first_across
FROM asked WHERE (kpi, area) NOT IN (SELECT kpi, area FROM unsure)
GROUP BY kpi, area, piece, word
UNION ALL
SELECT kpi, area, NULL, NULL, NULL, NULL, NULL, NULL FROM unsure

-- read_said --
-- Which of these areas ($2) have anything of these bases ($1) in [$3, $4). An area has what any area below it has.
SELECT area FROM unnest($2::text[]) AS asked (area)
WHERE EXISTS (
    SELECT FROM kpi_tier AS k
    WHERE k.kpi = ANY($1::text[]) AND k.area = asked.area AND k.bucket >= $3 AND k.bucket < $4
)
