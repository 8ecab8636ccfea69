-- Who counts? Ages are taken by the database's clock, which also stamped the beats.

-- read_all --
-- Every worker that was heard within the last $1 seconds, at most $2, those heard last first.
SELECT id, state, detail, beat_at,
       extract(epoch FROM clock_timestamp() - beat_at)::double precision AS age_s
FROM worker
WHERE beat_at > clock_timestamp() - make_interval(secs => $1)
ORDER BY beat_at DESC, id
LIMIT $2
