-- Which low-rate events were committed, in commit order? Only those below every running transaction are read, so that
-- a list never gains an event in its middle.

-- read_recent --
-- The newest first, below the cursor ($1, $2, $3) where one is given. A null filter takes all.
SELECT source, id, area, body, received_at, committed_at, xid::text::bigint AS xid
FROM event
WHERE xid < pg_snapshot_xmin(pg_current_snapshot())
  AND ($1::text IS NULL OR (xid, source, id) < ($1::text::xid8, $2::text, $3::text))
  AND ($4::text IS NULL OR type = $4)
  AND ($5::text[] IS NULL OR area = ANY($5))
  AND ($6::text IS NULL OR source = $6)
  AND ($7::text IS NULL OR subject = $7)
ORDER BY xid DESC, source DESC, id DESC
LIMIT $8

-- read_between --
-- Those of the transactions in ($1, $2], the newest first.
SELECT source, id, area, body, received_at, committed_at, xid::text::bigint AS xid
FROM event
WHERE xid > $1::text::xid8 AND xid <= $2::text::xid8
ORDER BY xid DESC, source DESC, id DESC
LIMIT $3

-- count_between --
-- How many there are in ($1, $2], to say how many were left out.
SELECT count(*) FROM event WHERE xid > $1::text::xid8 AND xid <= $2::text::xid8
