-- Which cases are there, what happened to them, and which may be one? Every statement is scoped (scope.sql): its own
-- parameters begin at $9.

-- wanted --
-- Which cases a list shows, about the row `c`; a null takes all. The words are looked for in the title in either case.
    {may_see}
    AND ($9::text[] IS NULL OR c.state = ANY ($9))
    AND ($10::boolean IS NULL OR c.is_open = $10)
    AND ($11::text[] IS NULL OR c.kind = ANY ($11))
    AND ($12::text[] IS NULL OR c.category = ANY ($12))
    AND ($13::text[] IS NULL OR c.severity = ANY ($13))
    AND ($14::text[] IS NULL OR c.area = ANY ($14))
    AND ($15::text IS NULL OR c.agency = $15)
    AND ($16::text IS NULL OR $16 = ANY (c.units))
    AND ($17::timestamptz IS NULL OR c.due_at < $17)
    AND ($18::text IS NULL OR position($18 IN lower(c.title)) > 0)
    AND ($19::double precision IS NULL OR (c.lat BETWEEN $19 AND $21::double precision
        AND c.lon BETWEEN $20::double precision AND $22::double precision))
    AND ($23::text IS NULL OR c.xid > $23::text::xid8)
    AND ($24::timestamptz IS NULL OR c.changed_at > $24)
    AND c.is_exercise = $25::boolean

-- count_cases --
-- How many there are; at most $26 are counted.
SELECT count(*) FROM (SELECT FROM cases AS c WHERE {wanted} LIMIT $26) AS counted

-- list_due --
-- Those due first come first, those without a deadline last; after the cursor ($26 due, $27 id) where there is one.
SELECT c.body FROM cases AS c
WHERE {wanted}
  AND ($27::text IS NULL OR (coalesce(c.due_at, 'infinity'), c.id) > (coalesce($26::timestamptz, 'infinity'), $27))
ORDER BY coalesce(c.due_at, 'infinity'), c.id
LIMIT $28

-- list_severity --
-- The worst first, and of those the ones that are due first.
SELECT c.body FROM cases AS c
CROSS JOIN LATERAL (SELECT array_position(ARRAY['critical', 'major', 'minor', 'info'], c.severity) AS rank) AS how
WHERE {wanted}
  AND ($27::text IS NULL OR (how.rank, coalesce(c.due_at, 'infinity'), c.id)
        > ($29::integer, coalesce($26::timestamptz, 'infinity'), $27))
ORDER BY how.rank, coalesce(c.due_at, 'infinity'), c.id
LIMIT $28

-- list_opened --
-- Those opened last come first.
SELECT c.body FROM cases AS c
WHERE {wanted} AND ($27::text IS NULL OR (c.opened_at, c.id) < ($26::timestamptz, $27))
ORDER BY c.opened_at DESC, c.id DESC
LIMIT $28

-- read_case --
-- One case, if it may be seen.
SELECT c.body FROM cases AS c WHERE c.id = $9 AND {may_see}

-- visible --
-- Which of these cases ($9) may be seen.
SELECT c.id FROM cases AS c WHERE c.id = ANY ($9::text[]) AND {may_see}

-- finished --
-- Cases of a category ($9) that are over, among the newest $10 at all: what is usual. At most $11.
SELECT c.body FROM (
    SELECT * FROM cases ORDER BY opened_at DESC LIMIT $10
) AS c
WHERE c.category = $9 AND c.closed_at IS NOT NULL AND NOT c.is_exercise AND {may_see}
ORDER BY c.opened_at DESC
LIMIT $11

-- read_timeline --
-- Lines of a case's timeline after number $10, if the case may be seen; $11: only those that the citizen reads, too.
SELECT t.body FROM case_entry AS t JOIN cases AS c ON c.id = t.case_id
WHERE t.case_id = $9 AND t.number > $10 AND (t.is_public OR NOT $11::boolean) AND {may_see}
ORDER BY t.number
LIMIT $12

-- read_proposals --
-- Pairs that may be one case, of which both may be seen: those in state $9, of case $10 where it is named, made before the
-- cursor ($11, $12, $13). The newest first.
SELECT p.case_id, p.other_id, p.score, p.reasons, p.state, p.made_at
FROM proposal AS p
WHERE ($9::text IS NULL OR p.state = $9)
  AND ($10::text IS NULL OR p.case_id = $10 OR p.other_id = $10)
  AND ($11::timestamptz IS NULL OR (p.made_at, p.case_id, p.other_id) < ($11, $12::text, $13::text))
  AND (SELECT count(*) FROM cases AS c WHERE c.id IN (p.case_id, p.other_id) AND {may_see}) = 2
ORDER BY p.made_at DESC, p.case_id DESC, p.other_id DESC
LIMIT $14

-- read_some --
-- Cases by id ($1), with what decides who may see them. For the live feed, which decides for each client.
SELECT c.id, c.body, c.areas, c.agency, c.accused_agency, c.units, c.tracking
FROM cases AS c WHERE c.id = ANY ($1::text[])
