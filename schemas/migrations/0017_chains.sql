-- A correction may be corrected itself, so all that correct an event, also by way of others, are rivals: one of them counts.

-- As it was, but for chains. An event that corrects another counts unless there is one among those that hang together with
-- it, other than what it corrects on the way up (`above`), that was received after all of `above` that this one does not
-- correct, too: what both correct decides nothing between them. Nothing counts that hangs on a circle. `streams.core.correction` says the same in Python.
CREATE OR REPLACE VIEW countable_event AS
SELECT e.* FROM event AS e
WHERE NOT e.is_exercise AND NOT e.is_withdrawal
    AND NOT EXISTS (SELECT FROM event AS c WHERE c.source = e.source AND c.corrects = e.id)
    AND (e.corrects IS NULL OR NOT EXISTS (
        WITH RECURSIVE above (id) AS (
            SELECT e.id
            UNION
            SELECT u.corrects FROM above AS a JOIN event AS u ON u.source = e.source AND u.id = a.id
            WHERE u.corrects IS NOT NULL
        ), chain (id, corrects, received_at, is_withdrawal) AS (
            SELECT c.id, c.corrects, c.received_at, c.is_withdrawal
            FROM above AS a JOIN event AS c ON c.source = e.source AND c.id = a.id
            UNION
            SELECT c.id, c.corrects, c.received_at, c.is_withdrawal
            FROM above AS a JOIN event AS c ON c.source = e.source AND c.corrects = a.id
            UNION
            SELECT c.id, c.corrects, c.received_at, c.is_withdrawal
            FROM chain AS b JOIN event AS c ON c.source = e.source AND c.corrects = b.id
        ), path (id, above_id) AS (
            SELECT c.id, c.id FROM chain AS c
            UNION
            SELECT p.id, c.corrects FROM path AS p JOIN chain AS c ON c.id = p.above_id WHERE c.corrects IS NOT NULL
        )
        SELECT 1 FROM chain AS x
        WHERE NOT x.is_withdrawal AND x.id NOT IN (SELECT a.id FROM above AS a)
            AND NOT EXISTS (
                SELECT FROM above AS a JOIN chain AS c ON c.id = a.id
                WHERE NOT c.is_withdrawal
                    AND (c.received_at, c.id COLLATE "C") > (x.received_at, x.id COLLATE "C")
                    AND NOT EXISTS (SELECT FROM path AS p WHERE p.id = x.id AND p.above_id = c.id)
            )
        UNION ALL
        SELECT 1 WHERE NOT EXISTS (
            SELECT FROM above AS a LEFT JOIN event AS u ON u.source = e.source AND u.id = a.id WHERE u.corrects IS NULL
        )
    ));
