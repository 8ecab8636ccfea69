-- What is masked in a case, for whom, and for how long?

-- read_reveal --
-- An applied `reveal` command by its source ($1) and id ($2) about a case ($3), not older than $4; `shown` is the case in
-- the version that it was decided on, or the last one before it that is kept: of one transaction only the last is.
SELECT k.decided_at, e.body, (
    SELECT v.body FROM case_version AS v WHERE v.case_id = k.subject AND v.version <= k.version
    ORDER BY v.version DESC, v.at DESC LIMIT 1
) AS shown
FROM command AS k JOIN event AS e USING (source, id)
WHERE k.source = $1 AND k.id = $2 AND k.subject = $3 AND k.action = 'reveal' AND k.is_applied
    AND k.decided_at > clock_timestamp() - $4::interval

-- read_personal --
-- The personal parts of these events ($1 sources, $2 ids), with what opens them.
SELECT p.source, p.id, p.person, p.received_at, p.sealed, p.as_it_came, k.wrapped
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (source, id, ordinal)
JOIN personal AS p USING (source, id)
LEFT JOIN person_key AS k USING (person)
ORDER BY asked.ordinal
