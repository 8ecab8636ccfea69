-- What may somebody read who has a case's tracking secret?

-- read_tracked --
-- The cases that the secret with the hash $1 opens: the reporter's own, and what that was merged into. At most $2.
SELECT body FROM cases WHERE tracking @> ARRAY[$1::text] ORDER BY recorded_at DESC, id LIMIT $2

-- read_merged --
-- A case that another one was merged into ($1).
SELECT body FROM cases WHERE id = $1

-- read_public_entries --
-- The lines that citizens may read of these cases ($1): the newest $2, the oldest first.
SELECT body FROM (
    SELECT recorded_at, case_id, number, body FROM case_entry WHERE case_id = ANY ($1::text[]) AND is_public
    ORDER BY recorded_at DESC, case_id DESC, number DESC LIMIT $2
) AS newest
ORDER BY recorded_at, case_id, number
