-- What goes from the outbox to the log.

-- try_lead --
-- Whether this session is the one that writes to the log. It stays so until the session ends, however that ends.
SELECT pg_try_advisory_lock($1);

-- read_for_log --
-- What waits for the log, in the order of coming, at most $1.
SELECT id, target, body FROM outbox
WHERE channel = 'kafka' AND sent_at IS NULL AND due_at <= statement_timestamp()
ORDER BY made_at, id
LIMIT $1;

-- forget_written --
-- The log has these. Were one put in again, its event would be known by its identity.
DELETE FROM outbox WHERE id = ANY ($1::text[]);

-- refuse_written --
-- The log will never take these, for the reason of each.
UPDATE outbox SET due_at = 'infinity', attempts = attempts + 1, last_error = a.reason
FROM unnest($1::text[], $2::text[]) AS a (id, reason)
WHERE outbox.id = a.id;
