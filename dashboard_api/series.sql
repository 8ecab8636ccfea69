-- When was a KPI last heard of?

-- read_last_minutes --
-- The latest minute since $3 in which each of these bases had events in each of these areas; no row when there is none.
SELECT wanted_kpi.kpi, wanted_area.area, extract(epoch FROM latest.bucket)::bigint AS minute_s
FROM unnest($1::text[]) AS wanted_kpi (kpi)
CROSS JOIN unnest($2::text[]) AS wanted_area (area)
CROSS JOIN LATERAL (
    SELECT k.bucket FROM kpi_minute AS k
    WHERE k.kpi = wanted_kpi.kpi AND k.area = wanted_area.area AND k.bucket >= $3 AND k.bucket < $4
    ORDER BY k.bucket DESC LIMIT 1
) AS latest
