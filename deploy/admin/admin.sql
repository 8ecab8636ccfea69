-- What the administrator's page looks up in the database; it changes nothing.

-- read_workers --
-- Workers heard within the hour, those heard last first.
SELECT id, state, detail, extract(epoch FROM now() - beat_at)::float8 AS age_s FROM worker
WHERE beat_at > now() - interval '1 hour' ORDER BY beat_at DESC LIMIT 64;

-- read_positions --
-- How far each partition is counted by the group $1.
SELECT topic, partition, next_offset FROM position WHERE consumer_group = $1;

-- read_feed --
-- How many sources were ever heard, and when the newest event came.
SELECT count(DISTINCT source) AS n, max(received_at) AS newest FROM source_seen;

-- read_versions --
-- Which programs the database is of, and which site pack was registered last.
SELECT current_setting('server_version') AS postgres,
       (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescale,
       (SELECT max(version) FROM site_version) AS site;

-- read_catalogues --
-- The texts of all catalogues that were ever registered; $1 is their file.
SELECT DISTINCT convert_from(pack, 'UTF8')::json ->> $1::text AS kpis FROM site_version;

-- read_at_work --
-- Units with open cases, and how many.
SELECT unit, cardinality(cases) AS cases FROM unit_state WHERE cardinality(cases) > 0;
