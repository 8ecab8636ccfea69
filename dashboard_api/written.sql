-- What did citizens write?

-- read_words --
-- Of each of these events ($1 sources, $2 ids, $3 what is known to correct them) the newest that has a personal part, with
-- what opens it: the event or a correction of it, or of that one. Where none has one, the event itself. The centre's own
-- corrections, which say what a report turned out to be, have none. As of $4, where it is given: no later correction.
SELECT asked.source, asked.id, p.source IS NOT NULL AS is_sealed, p.id AS sealed_id, p.person, p.sealed, p.as_it_came,
    k.wrapped, CASE WHEN p.source IS NULL THEN e.body END AS body
FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (source, id, corrected_by)
LEFT JOIN event AS e USING (source, id)
LEFT JOIN LATERAL (
    SELECT part.* FROM personal AS part
    WHERE part.source = asked.source AND part.id = ANY (
        ARRAY[asked.id, asked.corrected_by] || ARRAY(
            WITH RECURSIVE correction (id) AS (
                SELECT c.id FROM event AS c WHERE c.source = asked.source AND c.corrects = asked.id
                UNION
                SELECT c.id FROM correction AS b JOIN event AS c ON c.source = asked.source AND c.corrects = b.id
            )
            SELECT b.id FROM correction AS b
        )
    )
    AND ($4::timestamptz IS NULL OR part.id = asked.id OR EXISTS (
        SELECT FROM event AS c WHERE (c.source, c.id) = (part.source, part.id) AND c.committed_at <= $4
    ))
    ORDER BY part.received_at DESC, part.id IS NOT DISTINCT FROM asked.corrected_by DESC, part.id
    LIMIT 1
) AS p ON true
LEFT JOIN person_key AS k ON k.person = p.person
