-- What indicators and areas are called, for whoever reads the tables with SQL. It is replaced as a whole.

-- kept_version --
-- Of which site pack it is; null: of none.
SELECT max(site_version) FROM indicator;

-- lock_indicators --
-- Of two that replace it one waits; readers do not.
LOCK TABLE indicator, known_area IN SHARE ROW EXCLUSIVE MODE;

-- forget_indicators --
DELETE FROM indicator;

-- forget_areas --
DELETE FROM known_area;

-- put_indicators --
-- Of the site pack $1, in their order.
INSERT INTO indicator (site_version, id, ordinal, names, unit, numerator, numerator_of, denominator, denominator_of, per)
SELECT $1, id, ordinal, names::jsonb, unit, numerator, numerator_of, denominator, denominator_of, per
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::double precision[])
    WITH ORDINALITY AS u (id, names, unit, numerator, numerator_of, denominator, denominator_of, per, ordinal);

-- put_areas --
-- Those of the list $1 are present.
INSERT INTO known_area (id, ordinal, list, is_present, kind, parent, names)
SELECT id, ordinal, list, list = $1, kind, parent, names::jsonb
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
    WITH ORDINALITY AS u (id, list, kind, parent, names, ordinal);
