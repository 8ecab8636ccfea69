-- What became of commands?

-- outcomes --
-- Those of these sources ($1) and ids ($2) that have been decided.
SELECT k.source, k.id, k.subject, k.action, k.is_applied, k.reason, k.detail, k.state, k.version, k.made_at, k.decided_at
FROM unnest($1::text[], $2::text[]) AS asked (source, id) JOIN command AS k USING (source, id)

-- decided_between --
-- Those of these sources ($3) that the transactions in ($1, $2] decided, in the order of deciding. A command is kept as an
-- event in the transaction that decides it.
SELECT k.source, k.id, k.subject, k.action, k.is_applied, k.reason, k.detail, k.state, k.version, k.made_at,
    k.decided_at, e.xid::text::bigint AS xid
FROM event AS e JOIN command AS k USING (source, id)
WHERE e.xid > $1::text::xid8 AND e.xid <= $2::text::xid8 AND e.source = ANY ($3::text[])
ORDER BY e.xid, k.decided_at, k.id
LIMIT $4
