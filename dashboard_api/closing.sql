-- How far has each topic come, in event time? A partition that was counted to its end is not waited for.

-- read_closing --
-- For each topic the moment before which nothing is waited for any more: the least of its partitions. $1 is idle_s.
SELECT topic, min(greatest(watermark_s, extract(epoch FROM caught_up_at)::float8 - $1)) AS watermark_s
FROM position
GROUP BY topic
