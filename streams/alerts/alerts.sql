-- What do alert rules hold, and who looks at which of them now? All that comes of a look is one transaction, which moves
-- `looked_until` from where it was expected to be: of two that looked at the same step one changes something.

-- begin_rule --
-- A rule ($1) that nobody has looked at yet begins after the step $2.
INSERT INTO alert_rule (rule, looked_until) VALUES ($1, to_timestamp($2::float8)) ON CONFLICT (rule) DO NOTHING

-- claim --
-- Takes one of these rules ($1) that has been due for longest, for $2 seconds.
UPDATE alert_rule SET leased_until = clock_timestamp() + make_interval(secs => $2)
WHERE rule = (
    SELECT rule FROM alert_rule
    WHERE rule = ANY($1::text[]) AND due_at <= clock_timestamp()
      AND (leased_until IS NULL OR leased_until <= clock_timestamp())
    ORDER BY due_at, rule
    FOR UPDATE SKIP LOCKED
    LIMIT 1
)
RETURNING rule, extract(epoch FROM looked_until)::bigint AS looked_s

-- advance --
-- The rule ($1) was looked at from the step $2 up to $3, and is due again in $4 seconds; this came of it ($5). No row: it
-- was not where it was expected to be.
UPDATE alert_rule
SET looked_until = to_timestamp($3::float8), due_at = clock_timestamp() + make_interval(secs => $4),
    leased_until = NULL, looked_at = clock_timestamp(), outcome = $5
WHERE rule = $1 AND looked_until = to_timestamp($2::float8)
RETURNING rule

-- read_series --
-- The series of a rule that are not quiet.
SELECT area, dim, body FROM alert_series WHERE rule = $1

-- read_open_alerts --
-- What is told of a rule and not over.
SELECT id, name, body, told FROM alert WHERE rule = $1 AND ended_at IS NULL

-- read_silences --
-- Where a rule keeps silent at $2 or later.
SELECT area, extract(epoch FROM until)::float8 AS until_s FROM alert_silence
WHERE rule = $1 AND until > to_timestamp($2::float8)

-- read_firings --
-- When these rules ($1) fired, of what was not over at $2.
SELECT f.area, extract(epoch FROM f.started_at)::bigint AS start_s, extract(epoch FROM f.ended_at)::bigint AS end_s
FROM alert_firing AS f
WHERE f.rule = ANY($1::text[]) AND (f.ended_at IS NULL OR f.ended_at > to_timestamp($2::float8))

-- read_looked --
-- How far these rules have been looked at.
SELECT rule, extract(epoch FROM looked_until)::bigint AS looked_s FROM alert_rule WHERE rule = ANY($1::text[])

-- put_series --
-- Series that are not quiet, as they stand now.
INSERT INTO alert_series (rule, area, dim, phase, body)
SELECT $1, area, dim, phase, body FROM unnest($2::text[], $3::text[], $4::text[], $5::bytea[])
    AS given (area, dim, phase, body)
ON CONFLICT (rule, area, dim) DO UPDATE SET phase = excluded.phase, body = excluded.body

-- forget_series --
-- Series that are quiet again.
DELETE FROM alert_series AS s USING unnest($2::text[], $3::text[]) AS gone (area, dim)
WHERE s.rule = $1 AND s.area = gone.area AND s.dim = gone.dim

-- begin_firings --
-- Series that fire from a step on.
INSERT INTO alert_firing (rule, area, dim, started_at)
SELECT $1, area, dim, to_timestamp(start_s) FROM unnest($2::text[], $3::text[], $4::float8[])
    AS given (area, dim, start_s)
ON CONFLICT DO NOTHING

-- end_firings --
-- Series that do not fire any more, with the verdict that says why.
UPDATE alert_firing AS f SET ended_at = to_timestamp(given.end_s), reason = given.reason
FROM unnest($2::text[], $3::text[], $4::float8[], $5::text[]) AS given (area, dim, end_s, reason)
WHERE f.rule = $1 AND f.area = given.area AND f.dim = given.dim AND f.ended_at IS NULL

-- put_alert --
-- What is told of a group now.
INSERT INTO alert (id, rule, name, area, severity, started_at, body, told)
VALUES ($1, $2, $3, $4, $5, to_timestamp($6::float8), $7, $8)
ON CONFLICT (id) DO UPDATE SET body = excluded.body, told = excluded.told

-- end_alert --
-- It is over; $4 is the last event that was told of it.
UPDATE alert SET ended_at = to_timestamp($2::float8), reason = $3, told = $4 WHERE id = $1 AND ended_at IS NULL

-- read_gone --
-- One rule that is in no pack any more ($1 are those that are), held until the transaction ends; none where a newer pack
-- than version $2 is registered.
SELECT rule, extract(epoch FROM looked_until)::bigint AS looked_s FROM alert_rule
WHERE rule <> ALL ($1::text[]) AND NOT EXISTS (SELECT FROM site_version WHERE version > $2)
ORDER BY rule
FOR UPDATE SKIP LOCKED
LIMIT 1

-- forget_rule --
-- The rule is gone.
DELETE FROM alert_rule WHERE rule = $1

-- forget_old --
-- Forgets at most $2 firings that have been over for $1 seconds. Alerts are kept: cases refer to them.
DELETE FROM alert_firing WHERE (rule, area, dim, started_at) IN (
    SELECT rule, area, dim, started_at FROM alert_firing
    WHERE ended_at < clock_timestamp() - make_interval(secs => $1) LIMIT $2
)

-- silence --
-- Somebody wants a rule to keep silent. The same command twice is one.
INSERT INTO alert_silence (source, id, rule, area, until, reason, by, made_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (source, id) DO NOTHING

-- read_standing --
-- How each rule stands: how many series fire, how many alerts are open, how far it was looked at and what came of it.
SELECT r.rule, r.outcome, extract(epoch FROM r.looked_until)::float8 AS looked_s,
       (SELECT count(*) FROM alert_firing AS f WHERE f.rule = r.rule AND f.ended_at IS NULL) AS firing,
       (SELECT count(*) FROM alert AS a WHERE a.rule = r.rule AND a.ended_at IS NULL) AS open
FROM alert_rule AS r ORDER BY r.rule
