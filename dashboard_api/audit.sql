-- What has been decided, by whom, for ever?

-- read_chain --
-- The rows of a chain ($1) after a number ($2), in order.
SELECT chain, number, body, hash FROM audit WHERE chain = $1 AND number > $2 ORDER BY number LIMIT $3

-- read_subject --
-- The rows about one subject ($1), after a place ($2 chain, $3 number).
SELECT chain, number, body, hash FROM audit
WHERE subject = $1 AND (chain, number) > ($2::integer, $3::bigint)
ORDER BY chain, number LIMIT $4

-- read_heads --
-- Where each chain stands.
SELECT chain, number, hash FROM audit_head ORDER BY chain

-- hidden --
-- Which of these cases ($9) there are that may not be seen.
SELECT c.id FROM cases AS c WHERE c.id = ANY ($9::text[]) AND NOT {may_see}
