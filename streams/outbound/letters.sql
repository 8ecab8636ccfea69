-- Notices become letters, letters are sent, and what is heard of them is kept.

-- read_case --
-- A case as it is, and the time.
SELECT c.body, clock_timestamp() AS now FROM cases AS c WHERE c.id = $1;

-- read_said --
-- A line of a case's timeline.
SELECT body FROM case_entry WHERE case_id = $1 AND number = $2;

-- put_given_up --
-- A message that cannot be sent at all, for reason $6.
INSERT INTO outbox (id, channel, target, content_type, body, due_at, last_error)
VALUES ($1, $2, $3, $4, $5, 'infinity', $6)
ON CONFLICT (id) DO NOTHING;

-- put_line --
-- A line of a digest; the same notice gives one.
INSERT INTO digest_line (digest, notice, at, text) VALUES ($1, $2, $3, $4) ON CONFLICT (digest, notice) DO NOTHING;

-- read_lines --
-- The lines of a digest, the oldest first.
SELECT text FROM digest_line WHERE digest = $1 ORDER BY at, notice;

-- drop_lines --
-- Forgets lines that are older than $1 seconds: their digest went out, or was given up, long ago.
DELETE FROM digest_line WHERE at < clock_timestamp() - make_interval(secs => $1);

-- put_receipt --
-- What a channel ($3) says of one of its own messages. Returns the message when that is new, with the time; nothing for
-- one that this channel was never given, and for what was said before.
WITH new AS (
    INSERT INTO receipt (message, kind, channel, at, detail)
    SELECT o.id, $2, $3, least(coalesce($4::timestamptz, clock_timestamp()), clock_timestamp()), $5 FROM outbox AS o WHERE o.id = $1 AND o.channel = 'to:' || $3
    ON CONFLICT (message, kind) DO NOTHING
    RETURNING message, at
)
SELECT o.body, new.at, clock_timestamp() AS now FROM new JOIN outbox AS o ON o.id = new.message;

-- fail_sent --
-- A message that was taken, and then could not be delivered, for reason $2: it counts as given up.
UPDATE outbox SET sent_at = NULL, due_at = 'infinity', last_error = $2 WHERE id = $1;

-- read_dead_ends --
-- At most $1 messages that were given up, and of which their cases do not know yet; held until commit.
SELECT o.id, o.channel, o.body, coalesce(o.last_error, '') AS reason, clock_timestamp() AS now FROM outbox AS o
WHERE o.sent_at IS NULL AND o.due_at = 'infinity' AND starts_with(o.channel, 'to:')
    AND NOT EXISTS (SELECT FROM receipt AS r WHERE r.message = o.id AND r.kind = 'given_up')
ORDER BY o.made_at
LIMIT $1
FOR UPDATE OF o SKIP LOCKED;

-- note_dead_end --
-- Its case knows of it now.
INSERT INTO receipt (message, kind, channel, at, detail) VALUES ($1, 'given_up', $2, $3, $4)
ON CONFLICT (message, kind) DO NOTHING;

-- read_cursor --
-- How far the receipts of a channel have been read.
SELECT cursor FROM receipt_cursor WHERE channel = $1;

-- put_cursor --
-- They have been read so far.
INSERT INTO receipt_cursor (channel, cursor) VALUES ($1, $2)
ON CONFLICT (channel) DO UPDATE SET cursor = excluded.cursor;

-- read_receipts --
-- The newest receipts, at most $1.
SELECT message, kind, channel, at, detail FROM receipt WHERE kind <> 'given_up' ORDER BY recorded_at DESC LIMIT $1;
