-- Who was heard, how often, and when last? Added up over topics and partitions. People who give commands are no sources that
-- a board lists: how often each of them does is nobody's to watch.

-- read_all --
-- All sources, those heard last first.
SELECT source, sum(n)::bigint AS n, max(time) AS time, max(received_at) AS received_at
FROM source_seen
WHERE source NOT LIKE 'person:%' AND source NOT LIKE 'citizen:%'
GROUP BY source
ORDER BY max(received_at) DESC, source
LIMIT $1

-- read_some --
-- The named ones.
SELECT source, sum(n)::bigint AS n, max(time) AS time, max(received_at) AS received_at
FROM source_seen
WHERE source = ANY($1::text[]) AND source NOT LIKE 'person:%' AND source NOT LIKE 'citizen:%'
GROUP BY source
