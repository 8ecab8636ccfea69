-- What was committed since a position? Transaction ids are not in commit order, so only rows below the oldest running
-- transaction are read: no row will ever be added at or below a position once given out.

-- read_horizon --
-- The present position: the epoch, and the last transaction id below every running one.
SELECT epoch, pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1 AS xid FROM feed

-- read_changes --
-- The horizon, and the change rows in ($1, horizon] in order, at most $2; a row of nulls when there are none.
-- `held_since` is the commit time of the first change that is committed but lies above the horizon.
SELECT feed.epoch, horizon.xid AS horizon_xid, held.committed_at AS held_since,
       changes.xid, changes.committed_at, changes.touched
FROM feed
CROSS JOIN (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1 AS xid) AS horizon
LEFT JOIN LATERAL (
    SELECT committed_at FROM change
    WHERE change.xid >= pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY change.xid LIMIT 1
) AS held ON true
LEFT JOIN LATERAL (
    SELECT change.xid::text::bigint AS xid, change.committed_at, change.touched FROM change
    WHERE change.xid > $1::text::xid8 AND change.xid < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY change.xid LIMIT $2
) AS changes ON true

-- is_kept --
-- Whether every change row since position $1 is still there. Rows are deleted by age, so one that the position covers
-- and that is younger than $2 means that nothing after it was deleted.
SELECT EXISTS (
    SELECT FROM (SELECT committed_at FROM change WHERE xid <= $1::text::xid8 ORDER BY xid DESC LIMIT 1) AS covered
    WHERE covered.committed_at > clock_timestamp() - $2::interval
)
