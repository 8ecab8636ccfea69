-- How far was counted, and what may be said about it while no worker does? Used by `ioc positions` alone.

-- read_positions --
-- Every stored position.
SELECT consumer_group, topic, partition, topic_id, next_offset, updated_at FROM position;

-- read_beating --
-- The workers that gave a sign of life within $1 seconds and did not halt.
SELECT id FROM worker
WHERE state <> 'halted' AND beat_at > clock_timestamp() - make_interval(secs => $1)
ORDER BY id;

-- accept_position --
-- Lets a lane go on at $5 of topic $4, if it still stands at $7 of topic $6. No row: a worker has moved it meanwhile.
INSERT INTO position AS kept (consumer_group, topic, partition, topic_id, next_offset)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (consumer_group, topic, partition) DO UPDATE
SET topic_id = excluded.topic_id, next_offset = excluded.next_offset, updated_at = clock_timestamp()
WHERE kept.topic_id = $6 AND kept.next_offset = $7
RETURNING next_offset;

-- start_epoch --
-- A new epoch of the feed. It follows the clock, so that two restores of one backup do not begin the same one.
UPDATE feed
SET epoch = greatest(epoch + 1, extract(epoch FROM clock_timestamp())::bigint), started_at = clock_timestamp()
RETURNING epoch;

-- forget_foreign_changes --
-- A dump that was loaded into another server brings transaction ids which that server has not reached: the feed would
-- wait for them. Nobody needs these change rows, for a new epoch begins with a snapshot.
DELETE FROM change WHERE xid >= pg_snapshot_xmax(pg_current_snapshot());

-- adopt_foreign_events --
-- Events of such a dump become this transaction's, so that lists show them.
UPDATE event SET xid = pg_current_xact_id() WHERE xid >= pg_snapshot_xmax(pg_current_snapshot());
