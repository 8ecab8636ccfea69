-- When was something counted last?

-- read_newest_days --
-- The newest day in [$3, $4) in which each of these bases ($1) had events in each of these areas ($2); no row when there
-- is none.
SELECT wanted_base.base, wanted_area.area, newest.bucket
FROM unnest($1::text[]) AS wanted_base (base)
CROSS JOIN unnest($2::text[]) AS wanted_area (area)
CROSS JOIN LATERAL (
    SELECT k.bucket FROM kpi_day AS k
    WHERE k.kpi = wanted_base.base AND k.area = wanted_area.area AND k.bucket >= $3 AND k.bucket < $4
        AND (k.n > 0 OR k.sketch IS NOT NULL)
    ORDER BY k.bucket DESC LIMIT 1
) AS newest

-- read_newest_minutes --
-- The newest minute with events of each base ($1) in an area ($2) between two moments ($3, $4), which are a day apart; no
-- row when there is none, or when minutes of that day are kept no more. All of them lie in [$5, $6), which lets TimescaleDB
-- leave out whole chunks.
SELECT asked.base, newest.bucket
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[]) AS asked (base, area, start, stop)
CROSS JOIN LATERAL (
    SELECT k.bucket FROM kpi_minute AS k
    WHERE k.kpi = asked.base AND k.area = asked.area AND k.bucket >= asked.start AND k.bucket < asked.stop
        AND k.bucket >= $5 AND k.bucket < $6
        AND (k.n > 0 OR k.sketch IS NOT NULL)
    ORDER BY k.bucket DESC LIMIT 1
) AS newest
