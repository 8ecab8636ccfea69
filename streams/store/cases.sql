-- Cases and units, as decisions read and change them. Who calls these holds the positions of the lanes that the events
-- came on; rows of cases are locked in the order of their ids.

-- lock_cases --
-- The cases of these ids, and those that they were merged into, held until commit; and where these audit chains stand,
-- under the chain's number. Nobody else adds to a chain whose partition's position is held.
WITH RECURSIVE named (id) AS (
    SELECT unnest($1::text[])
    UNION
    SELECT c.merged_into FROM named JOIN cases AS c USING (id) WHERE c.merged_into IS NOT NULL
), locked AS (
    SELECT c.id, c.entries, c.body FROM cases AS c
    WHERE c.id = ANY (ARRAY(SELECT id FROM named))
    ORDER BY c.id
    FOR UPDATE
)
SELECT NULL AS chain, id, entries::bigint AS number, body FROM locked
UNION ALL
SELECT chain, NULL, number, hash FROM audit_head WHERE chain = ANY ($2::integer[]);

-- lock_dispatch --
-- One transaction at a time decides where units go: of two that find the same one free, the second has to see the first.
SELECT pg_advisory_xact_lock($1);

-- read_units --
-- What is known of these units; null: of all. What they said last of where they are is in the columns.
SELECT body, lat, lon, position_at FROM unit_state WHERE $1::text[] IS NULL OR unit = ANY ($1::text[]);

-- read_signals --
-- Kept events by identity.
SELECT e.source, e.id, e.body FROM unnest($1::text[], $2::text[]) AS a (source, id) JOIN event AS e USING (source, id);

-- read_homes --
-- These signals, and what they correct, and so on, as far as they are kept: for each that is `asked` itself first, with the
-- cases that they belong to: see move_events.
WITH RECURSIVE way (source, asked, id, number) AS (
    SELECT a.source, a.id, a.id, 0 FROM unnest($1::text[], $2::text[]) AS a (source, id)
    UNION ALL
    SELECT w.source, w.asked, e.corrects, w.number + 1 FROM way AS w JOIN event AS e USING (source, id)
    WHERE e.corrects IS NOT NULL
) CYCLE source, asked, id SET is_round USING passed
SELECT w.source, w.asked, w.id, e.case_id FROM way AS w JOIN event AS e USING (source, id)
WHERE e.case_id IS NOT NULL AND NOT w.is_round
ORDER BY w.source, w.asked, w.number;

-- read_near --
-- For each of these places and times (by ordinal, from 1) at most $9 open cases within degrees and seconds of it, the
-- nearest first. `stretch` is how much longer a degree of latitude is than one of longitude there.
SELECT n.ordinal, near.id, near.body
FROM unnest($1::double precision[], $2::double precision[], $3::double precision[], $4::double precision[],
            $5::double precision[], $6::timestamptz[], $7::double precision[], $8::boolean[])
    WITH ORDINALITY AS n (lat, lon, lat_slack, lon_slack, stretch, at, within_s, is_exercise, ordinal)
CROSS JOIN LATERAL (
    SELECT c.id, c.body FROM cases AS c
    WHERE c.is_open AND c.lat BETWEEN n.lat - n.lat_slack AND n.lat + n.lat_slack
        AND c.lon BETWEEN n.lon - n.lon_slack AND n.lon + n.lon_slack
        AND c.opened_at BETWEEN n.at - make_interval(secs => n.within_s) AND n.at + make_interval(secs => n.within_s)
        AND c.is_exercise = n.is_exercise
    ORDER BY (c.lat - n.lat) ^ 2 + ((c.lon - n.lon) / n.stretch) ^ 2, c.id
    LIMIT $9
) AS near
ORDER BY n.ordinal;

-- put_cases --
-- Cases as they are now, held or new. Lists come as texts, with U+001F between.
INSERT INTO cases AS kept (id, version, entries, kind, state, is_open, category, severity, area, areas, lat, lon, title,
                           agency, accused_agency, units, tracking, merged_into, is_exercise, is_published, opened_at,
                           recorded_at, changed_at, due_at, closed_at, body)
SELECT id, version, entries, kind, state, is_open, category, severity, area, string_to_array(areas, E'\x1f'), lat, lon,
       title, agency, accused_agency, string_to_array(units, E'\x1f'), string_to_array(tracking, E'\x1f'), merged_into,
       is_exercise, is_published, opened_at, recorded_at, changed_at, due_at, closed_at, body
FROM unnest($1::text[], $2::bigint[], $3::integer[], $4::text[], $5::text[], $6::boolean[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::double precision[], $12::double precision[], $13::text[], $14::text[],
            $15::text[], $16::text[], $17::text[], $18::text[], $19::boolean[], $20::boolean[], $21::timestamptz[],
            $22::timestamptz[], $23::timestamptz[], $24::timestamptz[], $25::timestamptz[], $26::bytea[])
    AS c (id, version, entries, kind, state, is_open, category, severity, area, areas, lat, lon, title, agency,
          accused_agency, units, tracking, merged_into, is_exercise, is_published, opened_at, recorded_at, changed_at,
          due_at, closed_at, body)
ON CONFLICT (id) DO UPDATE
SET version = excluded.version, entries = excluded.entries, kind = excluded.kind, state = excluded.state,
    is_open = excluded.is_open, category = excluded.category, severity = excluded.severity, area = excluded.area,
    areas = excluded.areas, lat = excluded.lat, lon = excluded.lon, title = excluded.title, agency = excluded.agency,
    accused_agency = excluded.accused_agency, units = excluded.units, tracking = excluded.tracking,
    merged_into = excluded.merged_into, is_exercise = excluded.is_exercise, is_published = excluded.is_published,
    opened_at = excluded.opened_at, recorded_at = excluded.recorded_at, changed_at = excluded.changed_at,
    due_at = excluded.due_at, closed_at = excluded.closed_at, body = excluded.body, xid = pg_current_xact_id();

-- put_entries --
-- Lines of timelines.
INSERT INTO case_entry (case_id, number, at, recorded_at, is_public, body)
SELECT * FROM unnest($1::text[], $2::integer[], $3::timestamptz[], $4::timestamptz[], $5::boolean[], $6::bytea[]);

-- drop_deadlines --
-- Takes away what is no longer due to happen to these cases ($1): what stays of them is named by $2 and $3.
DELETE FROM deadline AS d
WHERE d.case_id = ANY ($1::text[])
    AND NOT EXISTS (
        SELECT FROM unnest($2::text[], $3::text[]) AS a (case_id, name)
        WHERE (a.case_id, a.name) = (d.case_id, d.name)
    );

-- put_deadlines --
-- What is due to happen to cases. One that was due before at the same time stays as it is, turned into a command or not.
INSERT INTO deadline AS kept (case_id, name, due_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[])
ON CONFLICT (case_id, name) DO UPDATE SET due_at = excluded.due_at, fired_at = NULL
WHERE kept.due_at <> excluded.due_at;

-- put_units --
-- What is known of units, in the order of their names. A version of 0 says only where one is; the later place holds.
INSERT INTO unit_state AS kept (unit, version, status, lat, lon, position_at, cases, body)
SELECT unit, version, status, lat, lon, position_at, string_to_array(cases, E'\x1f'), body
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::double precision[], $5::double precision[], $6::timestamptz[],
            $7::text[], $8::bytea[]) AS u (unit, version, status, lat, lon, position_at, cases, body)
ORDER BY unit
ON CONFLICT (unit) DO UPDATE
SET version = greatest(kept.version, excluded.version),
    status = CASE WHEN excluded.version > kept.version THEN excluded.status ELSE kept.status END,
    cases = CASE WHEN excluded.version > kept.version THEN excluded.cases ELSE kept.cases END,
    body = CASE WHEN excluded.version > kept.version THEN excluded.body ELSE kept.body END,
    lat = CASE WHEN excluded.position_at <= kept.position_at THEN kept.lat ELSE coalesce(excluded.lat, kept.lat) END,
    lon = CASE WHEN excluded.position_at <= kept.position_at THEN kept.lon ELSE coalesce(excluded.lon, kept.lon) END,
    position_at = greatest(kept.position_at, excluded.position_at),
    xid = pg_current_xact_id();

-- put_commands --
-- What became of commands.
INSERT INTO command (source, id, subject, action, is_applied, reason, detail, state, version, made_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::text[], $7::text[], $8::text[],
                     $9::bigint[], $10::timestamptz[]);

-- put_proposals --
-- Cases that may be one. What somebody has said of two of them stays said, whichever was named first.
INSERT INTO proposal AS kept (case_id, other_id, score, reasons, state)
SELECT a.case_id, a.other_id, a.score, a.reasons, 'proposed'
FROM unnest($1::text[], $2::text[], $3::double precision[], $4::bytea[]) AS a (case_id, other_id, score, reasons)
WHERE NOT EXISTS (SELECT FROM proposal AS p WHERE (p.case_id, p.other_id) = (a.other_id, a.case_id))
ON CONFLICT (case_id, other_id) DO UPDATE SET score = excluded.score, reasons = excluded.reasons
WHERE kept.state = 'proposed';

-- judge_proposals --
-- What somebody has said of two cases each.
UPDATE proposal AS p SET state = a.state
FROM unnest($1::text[], $2::text[], $3::text[]) AS a (case_id, other_id, state)
WHERE (p.case_id, p.other_id) IN ((a.case_id, a.other_id), (a.other_id, a.case_id));

-- move_events --
-- Has signals, and what corrects them, and that, stand under the case that they belong to now: who may see an event depends
-- on it.
WITH RECURSIVE moved (source, id, case_id) AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
    UNION
    SELECT m.source, e.id, m.case_id FROM moved AS m JOIN event AS e ON e.source = m.source AND e.corrects = m.id
)
UPDATE event AS e SET case_id = m.case_id
FROM moved AS m
WHERE (e.source, e.id) = (m.source, m.id) AND e.case_id <> m.case_id;
