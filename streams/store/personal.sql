-- put_persons --
-- Gives persons a row who have none, still without a key. An erasure that is under way is waited for, and one that begins
-- now waits for this transaction to end.
INSERT INTO person_key (person, wrapped) SELECT person, NULL FROM unnest($1::text[]) AS given (person) ORDER BY person
ON CONFLICT (person) DO NOTHING;

-- read_keys --
-- The keys of these persons, as far as there are any, and when each was erased. Nobody erases them until this transaction
-- ends. Rows are taken in the order of persons, so that two transactions wait for each other and do not lock each other
-- out.
SELECT person, wrapped, erased_at FROM person_key WHERE person = ANY ($1::text[]) ORDER BY person FOR NO KEY UPDATE;

-- put_keys --
-- Gives persons a key who have none ($1, $2), also after one was destroyed, if what is to be kept of them came in later
-- ($3). Of two who do so at once the first is right, and so is an erasure that this had to wait for: keys are read again.
INSERT INTO person_key AS kept (person, wrapped)
SELECT person, wrapped FROM unnest($1::text[], $2::text[]) AS given (person, wrapped) ORDER BY person
ON CONFLICT (person) DO UPDATE SET wrapped = excluded.wrapped
WHERE kept.wrapped IS NULL AND (kept.erased_at IS NULL OR kept.erased_at < (
    SELECT newest FROM unnest($1::text[], $3::timestamptz[]) AS given (person, newest) WHERE given.person = kept.person
));

-- put_personal --
-- Keeps the personal parts of events. A resend changes nothing, also when what came first has been erased.
INSERT INTO personal (source, id, person, received_at, sealed, as_it_came)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::bytea[], $6::text[])
ON CONFLICT (source, id) DO NOTHING;

-- destroy_keys --
-- Destroys the keys of persons. Whoever keeps something of them at this moment is waited for.
INSERT INTO person_key AS kept (person, wrapped, erased_at)
SELECT person, NULL, max(erased_at) FROM unnest($1::text[], $2::timestamptz[]) AS given (person, erased_at)
GROUP BY person ORDER BY person
ON CONFLICT (person) DO UPDATE SET wrapped = NULL, erased_at = greatest(kept.erased_at, excluded.erased_at);

-- drop_personal --
-- Destroys what was sealed, also by those who were waited for: so this is a statement of its own, that sees it.
UPDATE personal SET sealed = NULL, as_it_came = NULL WHERE person = ANY ($1::text[]);

-- read_holders --
-- Who wrote the reports that these secrets open ($1, their hashes), as far as cases have them; null where nobody is known.
SELECT member ->> 'tracking' AS tracking, max(p.person) AS person
FROM cases AS c
CROSS JOIN LATERAL jsonb_array_elements(convert_from(c.body, 'UTF8')::jsonb -> 'members') AS member
LEFT JOIN personal AS p ON p.source = member ->> 'source' AND p.id = member ->> 'id'
WHERE c.tracking && $1::text[] AND member ->> 'tracking' = ANY ($1)
GROUP BY 1;

-- read_personal --
-- The personal part of an event, with what opens it.
SELECT p.person, p.sealed, p.as_it_came, k.wrapped
FROM personal AS p LEFT JOIN person_key AS k USING (person)
WHERE p.source = $1 AND p.id = $2;

-- read_person --
-- All that is kept of a person, the newest first.
SELECT p.source, p.id, p.person, p.received_at, p.sealed, p.as_it_came, k.wrapped, e.case_id
FROM personal AS p LEFT JOIN person_key AS k USING (person) LEFT JOIN event AS e USING (source, id)
WHERE p.person = $1 ORDER BY p.received_at DESC LIMIT $2;

-- read_persons --
-- The persons of whom something is kept in a case.
SELECT DISTINCT p.person FROM event AS e JOIN personal AS p USING (source, id)
WHERE e.case_id = $1 AND p.person IS NOT NULL ORDER BY p.person;
