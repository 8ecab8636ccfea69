-- The audit chains.

-- put_audit --
-- Further rows of chains.
INSERT INTO audit (chain, number, recorded_at, subject, body, hash)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::timestamptz[], $4::text[], $5::bytea[], $6::bytea[]);

-- put_heads --
-- Where chains stand now.
INSERT INTO audit_head (chain, number, hash)
SELECT chain, number, hash FROM unnest($1::integer[], $2::bigint[], $3::bytea[]) AS h (chain, number, hash)
ORDER BY chain
ON CONFLICT (chain) DO UPDATE SET number = excluded.number, hash = excluded.hash;

-- read_heads --
-- Where every chain stands.
SELECT chain, number, hash FROM audit_head ORDER BY chain;

-- read_chains --
-- The chains that have rows.
SELECT DISTINCT chain FROM audit ORDER BY chain;

-- read_links --
-- The next rows of a chain after a number, at most $3.
SELECT number, recorded_at, subject, body, hash FROM audit WHERE chain = $1 AND number > $2 ORDER BY number LIMIT $3;

-- read_subject --
-- All rows about a subject, in the order of recording.
SELECT chain, number, body FROM audit WHERE subject = $1 ORDER BY recorded_at, chain, number;
