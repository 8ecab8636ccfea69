-- Where do a case's signals belong now?

-- read_homes --
-- The cases that these signals ($1 sources, $2 ids) belong to by now, each with what that was merged into, and with what
-- decides who may see it. A signal that is not kept has none.
WITH RECURSIVE home (source, id, case_id) AS (
    SELECT e.source, e.id, e.case_id
    FROM unnest($1::text[], $2::text[]) AS asked (source, id) JOIN event AS e USING (source, id)
    WHERE e.case_id IS NOT NULL
    UNION
    SELECT h.source, h.id, c.merged_into FROM home AS h JOIN cases AS c ON c.id = h.case_id
    WHERE c.merged_into IS NOT NULL
)
SELECT h.source, h.id, c.areas, c.agency, c.accused_agency, c.units, c.tracking
FROM home AS h JOIN cases AS c ON c.id = h.case_id
