-- How did things stand at a past moment? Cases and units have a row for each version, which held in [at, until_at). Who
-- may see one is told by the case as it is now (scope.sql): its own parameters begin at $9.

-- read_floors --
-- Since when the past of each concept is there.
SELECT concept, since FROM history_floor

-- read_running --
-- The transactions of this database that have a number, and a moment before that was looked at. Those that were prepared
-- or whose session is not there any more count, too.
SELECT statement_timestamp() AS at, ARRAY(
    SELECT l.transactionid::text FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a USING (pid)
    WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
        AND (a.datid IS NULL OR a.datid = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))
) AS running

-- read_closed --
-- Up to when each topic had closed, as it was noted last at $1 or before.
SELECT DISTINCT ON (topic) topic, at, closed_s FROM closed_until WHERE at <= $1 ORDER BY topic, at DESC

-- read_site_then --
-- The site pack that counted at $1. Null where none was registered by then, or none ever.
SELECT version, digest FROM site_version WHERE made_at <= $1 ORDER BY version DESC LIMIT 1

-- read_pack --
-- The texts of one.
SELECT pack FROM site_version WHERE version = $1

-- read_filled --
-- Which of these bases ($1) were filled back after a moment ($2): what they hold of before was not known then.
SELECT DISTINCT kpi FROM backfill WHERE kpi = ANY ($1::text[]) AND updated_at > $2

-- read_reports --
-- Reports of periods that begin in [$1, $2) which came after a moment ($3), at most $4.
SELECT area, window_time, body FROM event
WHERE type = $5 AND window_time >= $1 AND window_time < $2 AND committed_at > $3 AND is_exercise = $6
LIMIT $4

-- wanted --
-- Which versions a list shows; a null takes all.
    {may_see}
    AND ($10::text[] IS NULL OR v.state = ANY ($10))
    AND ($11::boolean IS NULL OR v.is_open = $11)
    AND ($12::text[] IS NULL OR v.kind = ANY ($12))
    AND ($13::text[] IS NULL OR v.category = ANY ($13))
    AND ($14::text[] IS NULL OR v.severity = ANY ($14))
    AND ($15::text[] IS NULL OR v.area = ANY ($15))
    AND ($16::text IS NULL OR v.agency = $16)
    AND ($17::text IS NULL OR $17 = ANY (v.units))
    AND c.is_exercise = $18::boolean

-- list_open --
-- Those that were open at a moment ($9), those opened last first, below the cursor ($20, $21) where there is one. At most
-- $19.
SELECT v.body FROM case_version AS v JOIN cases AS c ON c.id = v.case_id
WHERE v.is_open AND tstzrange(v.at, v.until_at) @> $9::timestamptz AND {wanted}
    AND ($21::text IS NULL OR (v.opened_at, v.case_id) < ($20::timestamptz, $21))
ORDER BY v.opened_at DESC, v.case_id DESC
LIMIT $19

-- list_all --
-- The same of all that were there.
SELECT v.body FROM case_version AS v JOIN cases AS c ON c.id = v.case_id
WHERE v.at <= $9::timestamptz AND v.until_at > $9 AND {wanted}
    AND ($21::text IS NULL OR (v.opened_at, v.case_id) < ($20::timestamptz, $21))
ORDER BY v.opened_at DESC, v.case_id DESC
LIMIT $19

-- read_case --
-- One case ($10) as it was at a moment ($9), if it may be seen.
SELECT v.body FROM case_version AS v JOIN cases AS c ON c.id = v.case_id
WHERE v.case_id = $10 AND v.at <= $9::timestamptz AND v.until_at > $9 AND {may_see}

-- changed_cases --
-- The cases that changed in ($9, $10], as they were at its end, if they may be seen. At most $11.
SELECT DISTINCT ON (v.case_id) v.case_id, v.body FROM case_version AS v JOIN cases AS c ON c.id = v.case_id
WHERE v.at > $9::timestamptz AND v.at <= $10::timestamptz AND v.until_at > $10 AND {may_see}
ORDER BY v.case_id, v.at DESC, v.version DESC
LIMIT $11

-- read_timeline --
-- Lines of a case's timeline ($10) after number $11 that were there at a moment ($9), if the case may be seen. At most $12.
SELECT t.body FROM case_entry AS t JOIN cases AS c ON c.id = t.case_id
WHERE t.case_id = $10 AND t.number > $11 AND coalesce(t.kept_at, t.recorded_at) <= $9::timestamptz AND {may_see}
ORDER BY t.number
LIMIT $12

-- read_units --
-- What was known of these units ($1) at a moment ($2).
SELECT unit, lat, lon, position_at, body FROM unit_version
WHERE unit = ANY ($1::text[]) AND at <= $2::timestamptz AND until_at > $2

-- changed_units --
-- The same of those of which something else was known in ($3, $2] than before.
SELECT unit, lat, lon, position_at, body FROM unit_version
WHERE unit = ANY ($1::text[]) AND at > $3::timestamptz AND at <= $2::timestamptz AND until_at > $2

-- read_events --
-- Events that had been committed in ($9, $10] and that the reader may see, the newest first: in these areas ($11), drills
-- or none ($12). At most $13.
SELECT e.body, e.committed_at, e.xid::text::bigint AS xid FROM event AS e
WHERE e.committed_at > $9::timestamptz AND e.committed_at <= $10::timestamptz
    AND ($11::text[] IS NULL OR e.area = ANY ($11)) AND {may_see_event $14}
    AND $12::boolean = (e.is_exercise OR EXISTS (
        SELECT FROM cases AS d WHERE d.is_exercise AND d.id = coalesce(e.case_id,
            CASE WHEN e.type IN ('ioc.case.command.v1', 'ioc.case.step.v1') THEN e.subject END)))
ORDER BY e.committed_at DESC, e.source DESC, e.id DESC
LIMIT $13
