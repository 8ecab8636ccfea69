-- Which cases may everybody see? Only published ones; never a complaint about an official, a violation, a drill, or what was
-- merged into another. Whatever is asked for is asked of what is shown: the day, and the place as it is rounded. A finer
-- filter would tell what the rounding hides.

-- is_public --
-- Whether everybody may see the row `c`, as far as that does not depend on how far it has come.
c.is_published AND NOT c.is_exercise AND c.accused_agency IS NULL AND c.merged_into IS NULL
    AND c.kind NOT IN ('conduct', 'violation')

-- shown --
-- $1 are the categories whose place is shown as it is; of all others it is rounded to hundredths of a degree, about 1 km.
SELECT c.id, c.state, c.is_open, c.category, c.area,
    date_trunc('day', c.opened_at, $2::text) AS opened_on, date_trunc('day', c.closed_at, $2::text) AS closed_on,
    CASE WHEN c.category = ANY ($1::text[]) THEN c.lat ELSE round(c.lat::numeric, 2)::double precision END AS lat,
    CASE WHEN c.category = ANY ($1::text[]) THEN c.lon ELSE round(c.lon::numeric, 2)::double precision END AS lon,
    c.lat IS NOT NULL AND NOT c.category = ANY ($1::text[]) AS is_rounded
FROM cases AS c
WHERE {is_public} AND c.state NOT IN ('merged', 'rejected')

-- list_public --
-- Those of a category ($3) and of these areas ($4), open or not ($5), in a box ($6 south, $7 west, $8 north, $9 east), after
-- the cursor ($10 day, $11 id). Those opened last come first.
SELECT * FROM ({shown}) AS shown
WHERE ($3::text IS NULL OR category = $3) AND ($4::text[] IS NULL OR area = ANY ($4)) AND ($5::boolean IS NULL OR is_open = $5)
    AND ($6::double precision IS NULL OR (lat BETWEEN $6 AND $8::double precision
        AND lon BETWEEN $7::double precision AND $9::double precision))
    AND ($11::text IS NULL OR (opened_on, id) < ($10::timestamptz, $11))
ORDER BY opened_on DESC, id DESC
LIMIT $12

-- list_alerts --
-- Those of these severities ($1) that are open and were opened after a moment ($2), the newest first.
SELECT c.body FROM cases AS c
WHERE {is_public} AND c.is_open AND c.severity = ANY ($1::text[]) AND c.opened_at > $2
ORDER BY c.opened_at DESC, c.id
LIMIT $3
