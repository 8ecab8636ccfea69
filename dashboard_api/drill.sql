-- Which events are behind a number?

-- read_behind --
-- Events that count and that the reader may see (scope.sql), the newest first: of each type ($9) those that belong to
-- [start ($10), stop ($11)) and lie in one of these areas ($12; null: in any), below the cursor ($13, $14, $15), at most
-- $16. Each type is read along an index of its own from the newest, or where few areas are asked for along theirs; so a
-- page costs what it shows.
SELECT found.source, found.id, found.type, found.subject, found.time, found.window_time, found.area, found.body, found.case_id
FROM unnest($9::text[], $10::timestamptz[], $11::timestamptz[]) AS asked (type, start, stop)
CROSS JOIN LATERAL (
    SELECT e.source, e.id, e.type, e.subject, e.time, e.window_time, e.area, e.body,
        coalesce(e.case_id, CASE WHEN e.type = 'ioc.case.step.v1' THEN e.subject END) AS case_id
    FROM countable_event AS e
    WHERE e.type = asked.type AND e.window_time >= asked.start AND e.window_time < asked.stop
        AND ($12::text[] IS NULL OR e.area = ANY($12))
        AND {may_see_event $17}
        AND e.window_time <= $13 AND (e.window_time, e.source, e.id) < ($13, $14::text, $15::text)
    ORDER BY e.window_time DESC, e.source DESC, e.id DESC
    LIMIT $16
) AS found
ORDER BY found.window_time DESC, found.source DESC, found.id DESC
LIMIT $16
