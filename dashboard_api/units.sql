-- What is known of units?

-- read_units --
-- Those of these ids ($1) that were ever heard of. What they said last of where they are is in the columns.
SELECT body, lat, lon, position_at FROM unit_state WHERE unit = ANY ($1::text[])
