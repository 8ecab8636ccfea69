-- What is masked in a case, for whom, and for how long?

-- read_reveals --
-- The applied `reveal` commands of one person ($1, the source) about a case ($2), not older than $3; the newest first.
SELECT k.decided_at, e.body FROM command AS k JOIN event AS e USING (source, id)
WHERE k.source = $1 AND k.subject = $2 AND k.action = 'reveal' AND k.is_applied
    AND k.decided_at > clock_timestamp() - $3::interval
ORDER BY k.decided_at DESC
LIMIT 20

-- read_personal --
-- The personal parts of these events ($1 sources, $2 ids), with what opens them.
SELECT p.source, p.id, p.person, p.received_at, p.sealed, p.as_it_came, k.wrapped
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (source, id, ordinal)
JOIN personal AS p USING (source, id)
LEFT JOIN person_key AS k USING (person)
ORDER BY asked.ordinal
