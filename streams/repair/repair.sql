-- How is what was counted put right? Used by back-fills and rebuilds alone.

-- lock --
-- Whether this session may put things right: one does at a time. The lock ends with the session.
SELECT pg_try_advisory_lock($1);

-- read_positions --
-- How far these topics' lanes are counted. A lane that was counted to its end is not waited for longer than $3, idle_s.
SELECT topic, partition, topic_id, next_offset, site_version, updated_at,
       greatest(watermark_s, extract(epoch FROM caught_up_at)::float8 - $3) AS watermark_s
FROM position
WHERE consumer_group = $1 AND topic = ANY($2::text[]);

-- switch_lanes --
-- Lets lanes of these topics count by a version from where they stand. The caller has closed the fence, and whoever
-- counts finds that the lane has moved.
WITH moved AS (
    UPDATE position SET site_version = $3
    WHERE consumer_group = $1 AND topic = ANY($2::text[]) AND site_version < $3
    RETURNING consumer_group, topic, partition, topic_id, next_offset
)
INSERT INTO site_switch (consumer_group, topic, partition, version, topic_id, next_offset)
SELECT consumer_group, topic, partition, $3, topic_id, next_offset FROM moved
ON CONFLICT (consumer_group, topic, partition, version) DO UPDATE
SET topic_id = excluded.topic_id, next_offset = excluded.next_offset;

-- read_switches --
-- Which version counted from which offset on, on the lanes of these topics as they are now.
SELECT s.topic, s.partition, s.version, s.next_offset
FROM site_switch AS s JOIN position AS p USING (consumer_group, topic, partition, topic_id)
WHERE s.consumer_group = $1 AND s.topic = ANY($2::text[]) AND s.next_offset <= p.next_offset
ORDER BY s.topic, s.partition, s.next_offset, s.version;

-- read_filled --
-- The back-fills of these bases.
SELECT kpi, topic, partition, next_offset, stop_offset, site_version, since FROM backfill
WHERE kpi = ANY($1::text[]) ORDER BY topic, partition, kpi;

-- plan_filling --
-- Begins the back-fill of a base on a lane.
INSERT INTO backfill (kpi, topic, partition, next_offset, stop_offset, site_version, since)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- forget_filling --
-- Nothing was filled back of these bases.
DELETE FROM backfill WHERE kpi = ANY($1::text[]);

-- advance_filling --
-- Moves the back-fill of bases on a lane, if it is where the caller believes it is.
UPDATE backfill SET next_offset = $5, updated_at = clock_timestamp()
WHERE kpi = ANY($1::text[]) AND topic = $2 AND partition = $3 AND next_offset = $4;

-- share_fence --
-- Keeps corrections and rebuilds from coming in between until the end of the transaction.
SELECT pg_advisory_xact_lock_shared($1);

-- has_unplaced --
-- Whether events of these types are kept of which it is not known where they stood on the log.
SELECT EXISTS (SELECT FROM event WHERE type = ANY($1::text[]) AND topic IS NULL);

-- read_kept --
-- The events of these types that count and stood at [$4, $5) of a lane, in the order of the log.
SELECT source, id, area, located, window_time, partition, "offset", body FROM countable_event
WHERE type = ANY($1::text[]) AND topic = $2 AND partition = $3 AND "offset" >= $4 AND "offset" < $5
ORDER BY "offset";

-- read_unplaced --
-- The events of these types that count and of which it is not known where they stood.
SELECT source, id, area, located, window_time, partition, "offset", body FROM countable_event
WHERE type = ANY($1::text[]) AND topic IS NULL;

-- note_recount --
-- Lets workers forget what they remember of stored figures.
UPDATE feed SET recounts = recounts + 1;

-- note_change --
-- A row of the change feed, and a wake-up for its readers.
WITH changed AS (INSERT INTO change (touched) VALUES ($1))
SELECT pg_notify('ioc_change', '');

-- read_redriven --
-- The places of the dead letters that were sent again.
SELECT partition, "offset" FROM redriven;

-- note_redriven --
-- Notes places of dead letters that were sent again.
INSERT INTO redriven (partition, "offset") SELECT * FROM unnest($1::integer[], $2::bigint[]) ON CONFLICT DO NOTHING;
