-- What did citizens write?

-- read_words --
-- These events ($1 sources, $2 ids): their personal parts with what opens them, or the events themselves where they have
-- none.
SELECT asked.source, asked.id, p.source IS NOT NULL AS is_sealed, p.person, p.sealed, p.as_it_came, k.wrapped,
    CASE WHEN p.source IS NULL THEN e.body END AS body
FROM unnest($1::text[], $2::text[]) AS asked (source, id)
LEFT JOIN event AS e USING (source, id)
LEFT JOIN personal AS p USING (source, id)
LEFT JOIN person_key AS k USING (person)
