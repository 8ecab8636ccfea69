-- Which events are behind a number?

-- read_behind --
-- Events that count, the newest first: of each type ($1) those that belong to [start ($2), stop ($3)) and lie in one of
-- these areas ($4; null: in any), below the cursor ($5, $6, $7), at most $8. Each type is read along an index of its own
-- from the newest, or where few areas are asked for along theirs; so a page costs what it shows.
SELECT found.source, found.id, found.type, found.subject, found.time, found.window_time, found.area, found.body
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) AS asked (type, start, stop)
CROSS JOIN LATERAL (
    SELECT e.source, e.id, e.type, e.subject, e.time, e.window_time, e.area, e.body
    FROM countable_event AS e
    WHERE e.type = asked.type AND e.window_time >= asked.start AND e.window_time < asked.stop
        AND ($4::text[] IS NULL OR e.area = ANY($4))
        AND e.window_time <= $5 AND (e.window_time, e.source, e.id) < ($5, $6::text, $7::text)
    ORDER BY e.window_time DESC, e.source DESC, e.id DESC
    LIMIT $8
) AS found
ORDER BY found.window_time DESC, found.source DESC, found.id DESC
LIMIT $8
