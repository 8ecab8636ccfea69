-- What goes out, and what has to happen at a time. All times are the database's, so that processes need not agree.
-- A row that will not be tried again has its `due_at` at infinity and its `sent_at` null.

-- enqueue --
-- One row to send, not before $6 where that is given. What has this id already is left as it is, sent or not. Returns the
-- id when it is new.
INSERT INTO outbox (id, channel, target, content_type, body, due_at)
VALUES ($1, $2, $3, $4, $5, coalesce($6::timestamptz, clock_timestamp()))
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- put --
-- Several rows to send at once, all of them JSON. What has one of these ids already is left as it is.
INSERT INTO outbox (id, channel, target, content_type, body)
SELECT id, channel, target, 'application/json', body
FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS o (id, channel, target, body)
ON CONFLICT (id) DO NOTHING;

-- wake_log --
-- At commit whoever writes to the log is woken, if anything waits for that ($1).
SELECT pg_notify('ioc_outbox', '') WHERE $1::boolean;

-- claim --
-- Takes the row that has been due for longest, for $1 seconds: nobody else is given it until then. The attempt is
-- counted before it is made, so that a row which kills whoever sends it is not sent for ever. Channels in $3 are left
-- out: enough is under way there. What goes to the log has a way of its own (`streams.outbound.log_channel`).
UPDATE outbox SET attempts = attempts + 1, due_at = clock_timestamp() + make_interval(secs => $1)
WHERE id = (
    SELECT id FROM outbox
    WHERE sent_at IS NULL AND due_at <= clock_timestamp() AND attempts < $2 AND channel <> 'kafka'
        AND channel <> ALL ($3::text[])
    ORDER BY due_at
    FOR UPDATE SKIP LOCKED
    LIMIT 1
)
RETURNING id, channel, target, content_type, body, attempts;

-- mark_sent --
-- The receiver has it. True also of an attempt that has been overtaken: it was delivered all the same.
UPDATE outbox SET sent_at = clock_timestamp(), last_error = NULL WHERE id = $1 AND sent_at IS NULL;

-- mark_failed --
-- Attempt $2 came to nothing, for reason $3: tried again in $4 seconds, at null never. An attempt that has been
-- overtaken by another changes nothing.
UPDATE outbox
SET last_error = $3, due_at = coalesce(clock_timestamp() + make_interval(secs => $4), 'infinity')
WHERE id = $1 AND attempts = $2 AND sent_at IS NULL;

-- give_up --
-- Rows whose last attempt ended with the process that made it.
UPDATE outbox SET due_at = 'infinity', last_error = coalesce(last_error, 'whoever sent it did not come back')
WHERE sent_at IS NULL AND due_at <= clock_timestamp() AND attempts >= $1 AND channel <> 'kafka';

-- read_backlog --
-- How many rows wait, how many were given up, and for how long the oldest waits, in seconds.
SELECT count(*) FILTER (WHERE due_at < 'infinity') AS waiting,
       count(*) FILTER (WHERE due_at = 'infinity') AS failed,
       coalesce(extract(epoch FROM clock_timestamp() - min(made_at) FILTER (WHERE due_at < 'infinity')), 0)::float8
           AS oldest_s
FROM outbox WHERE sent_at IS NULL;

-- read_unsent --
-- What waits or was given up, oldest first, at most $1.
SELECT id, channel, attempts, last_error, due_at = 'infinity' AS failed FROM outbox
WHERE sent_at IS NULL
ORDER BY made_at, id
LIMIT $1;

-- retry --
-- Tries again what was given up.
UPDATE outbox SET attempts = 0, due_at = clock_timestamp()
WHERE sent_at IS NULL AND due_at = 'infinity';

-- forget_bodies --
-- Empties at most $2 rows that were sent longer than $1 seconds ago: messages about cases ($3), or all else. The ids
-- stay, so that nothing is sent twice.
UPDATE outbox SET body = '', target = CASE WHEN $3 THEN '' ELSE target END
WHERE id IN (
    SELECT id FROM outbox
    WHERE sent_at < clock_timestamp() - make_interval(secs => $1) AND body <> ''
        AND (channel = 'notice' OR starts_with(channel, 'to:')) = $3
    LIMIT $2
);

-- drop_given_up --
-- Forgets at most $2 messages about cases that were given up, and were put in longer than $1 seconds ago.
DELETE FROM outbox
WHERE id IN (
    SELECT id FROM outbox
    WHERE sent_at IS NULL AND due_at = 'infinity' AND made_at < clock_timestamp() - make_interval(secs => $1)
        AND starts_with(channel, 'to:')
    LIMIT $2
);

-- read_pending_timers --
-- The timers whose name begins with $1 and which have not run.
SELECT name, due_at FROM timer WHERE ran_at IS NULL AND starts_with(name, $1) ORDER BY due_at, name;

-- set_timer --
-- A timer that has not run is due at $2.
INSERT INTO timer (name, due_at) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET due_at = excluded.due_at
WHERE timer.ran_at IS NULL AND timer.due_at <> excluded.due_at;

-- claim_timer --
-- Holds a timer until the transaction ends. No row: it has run, or somebody else is at it.
SELECT name FROM timer WHERE name = $1 AND ran_at IS NULL FOR UPDATE SKIP LOCKED;

-- finish_timer --
-- It has run, and this came of it.
UPDATE timer SET ran_at = clock_timestamp(), outcome = $2 WHERE name = $1;
