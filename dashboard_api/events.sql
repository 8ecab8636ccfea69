-- Which low-rate events were committed, in commit order? Only those below every running transaction are read, so that
-- a list never gains an event in its middle. Events of cases that the reader may not see (scope.sql) are left out.

-- read_recent --
-- The newest first, below the cursor ($9, $10, $11) where one is given. A null filter takes all.
SELECT e.source, e.id, e.area, e.body, e.received_at, e.committed_at, e.xid::text::bigint AS xid
FROM event AS e
WHERE e.xid < pg_snapshot_xmin(pg_current_snapshot())
  AND ($9::text IS NULL OR (e.xid, e.source, e.id) < ($9::text::xid8, $10::text, $11::text))
  AND ($12::text IS NULL OR e.type = $12)
  AND ($13::text[] IS NULL OR e.area = ANY($13))
  AND ($14::text IS NULL OR e.source = $14)
  AND ($15::text IS NULL OR e.subject = $15)
  AND ($18::boolean IS NULL OR $18 = (e.is_exercise OR EXISTS (
      SELECT FROM cases AS d WHERE d.is_exercise AND d.id = coalesce(e.case_id,
          CASE WHEN e.type IN ('ioc.case.command.v1', 'ioc.case.step.v1') THEN e.subject END))))
  AND {may_see_event $17}
ORDER BY e.xid DESC, e.source DESC, e.id DESC
LIMIT $16

-- read_between --
-- Those of the transactions in ($1, $2], the newest first, for readers of whom each may see something else: with the case
-- that each belongs to, from which follows who may see it.
SELECT e.source, e.id, e.area, e.body, e.received_at, e.committed_at, e.xid::text::bigint AS xid,
    e.is_exercise OR coalesce(c.is_exercise, false) AS is_exercise, e.type = 'ioc.case.command.v1' AS is_command,
    c.id IS NOT NULL AND c.accused_agency IS NULL AND e.type = 'ioc.feedback.received.v1'
        AND position('"accused_agency"'::bytea IN e.body) > 0 AS is_misplaced,
    c.id AS case_id, c.areas, c.agency, c.accused_agency, c.units, c.tracking
FROM event AS e
LEFT JOIN cases AS c ON c.id = coalesce(e.case_id,
    CASE WHEN e.type IN ('ioc.case.command.v1', 'ioc.case.step.v1') THEN e.subject END)
WHERE e.xid > $1::text::xid8 AND e.xid <= $2::text::xid8
ORDER BY e.xid DESC, e.source DESC, e.id DESC
LIMIT $3

-- count_between --
-- How many the reader may see in ($9, $10], to say how many were left out.
SELECT count(*) FROM event AS e WHERE e.xid > $9::text::xid8 AND e.xid <= $10::text::xid8 AND {may_see_event $11}
