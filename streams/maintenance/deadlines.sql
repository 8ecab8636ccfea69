-- What is due to happen to cases becomes commands.

-- is_due --
-- Whether anything is due. Nearly always nothing is, and then this is all that is asked. The statement's own time can be
-- looked up in the index, which the clock's cannot.
SELECT EXISTS (SELECT FROM deadline WHERE fired_at IS NULL AND due_at <= statement_timestamp());

-- take_due --
-- Takes at most $1 deadlines that are due, the earliest first, and notes that they have become commands. Of several
-- workers each takes others; what is being changed by a decision right now is left for the next look. All times are the
-- database's, so that workers need not agree on what time it is.
WITH due AS MATERIALIZED (
    SELECT case_id, name FROM deadline
    WHERE fired_at IS NULL AND due_at <= statement_timestamp()
    ORDER BY due_at
    FOR UPDATE SKIP LOCKED
    LIMIT $1
)
UPDATE deadline AS d SET fired_at = clock_timestamp()
FROM due
WHERE (d.case_id, d.name) = (due.case_id, due.name)
RETURNING d.case_id, d.name, d.due_at, d.fired_at;

-- read_places --
-- Where these cases are, at which version, and which of them are drills. A deadline that comes back to a case comes with a
-- later version, since the row that is taken here has to go first.
SELECT id, version, area, is_exercise FROM cases WHERE id = ANY ($1::text[]);
