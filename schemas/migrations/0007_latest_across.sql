-- What the places below an area said last, put together: a board that asks for a whole country does not read a row for
-- each of thousands of places.

-- Of the rows of a `latest` base in the days of an area, but for what the area said of itself: those of one bucket, of the
-- same dimension values (`words`, without the place) and with the same fate come together. Rows stand `until` the next
-- bucket in which their place said something; of `is_open` ones there is none so far, and nobody has looked further.
-- `first_…` is the same of what there was when the buckets closed. Totals are whole millionths, as in the rows.
CREATE TABLE latest_across (
    kpi           text        NOT NULL,
    area          text        NOT NULL,
    bucket        timestamptz NOT NULL,
    words         text        NOT NULL,
    until         timestamptz NOT NULL,
    is_open       boolean     NOT NULL,
    first_until   timestamptz NOT NULL,
    first_is_open boolean     NOT NULL,
    n             bigint      NOT NULL,
    total         numeric,
    low           numeric,
    high          numeric,
    first_n       bigint      NOT NULL,
    first_total   numeric,
    first_low     numeric,
    first_high    numeric,
    corrected_at  timestamptz,
    PRIMARY KEY (kpi, area, bucket, words, until, is_open, first_until, first_is_open)
);

-- The buckets in which such rows have changed since they were put together. `writer` is the transaction, so that nobody
-- waits for anybody; the mark comes and goes with the change. Without a mark, what was put together is what there is.
CREATE TABLE latest_touched (
    kpi    text        NOT NULL,
    area   text        NOT NULL,
    bucket timestamptz NOT NULL,
    writer bigint      NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    PRIMARY KEY (kpi, area, bucket, writer)
);

-- Whoever changes a row marks its bucket: counting, corrections, back-fills, rebuilds, merging, and what comes to be.
CREATE FUNCTION mark_latest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO latest_touched (kpi, area, bucket) VALUES (OLD.kpi, OLD.area, OLD.bucket) ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO latest_touched (kpi, area, bucket) VALUES (NEW.kpi, NEW.area, NEW.bucket) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER mark_latest AFTER INSERT OR UPDATE ON kpi_day FOR EACH ROW
    WHEN (NEW.bin = -2147483648 AND split_part(NEW.dim, E'\x1f', -1) <> NEW.area) EXECUTE FUNCTION mark_latest();
CREATE TRIGGER mark_latest_gone AFTER DELETE ON kpi_day FOR EACH ROW
    WHEN (OLD.bin = -2147483648 AND split_part(OLD.dim, E'\x1f', -1) <> OLD.area) EXECUTE FUNCTION mark_latest();

-- A table that is emptied says nothing of its rows.
CREATE FUNCTION forget_latest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE latest_across, latest_touched;
    RETURN NULL;
END
$$;
CREATE TRIGGER forget_latest AFTER TRUNCATE ON kpi_day FOR EACH STATEMENT EXECUTE FUNCTION forget_latest();

-- What an area said of itself is found without passing over what is below it.
CREATE INDEX kpi_day_own ON kpi_day (kpi, area, bucket)
    WHERE bin = -2147483648 AND split_part(dim, E'\x1f', -1) = area;

-- What is there already has to be put together, too.
INSERT INTO latest_touched (kpi, area, bucket)
SELECT DISTINCT kpi, area, bucket FROM kpi_day WHERE bin = -2147483648 AND split_part(dim, E'\x1f', -1) <> area;
INSERT INTO timer (name, due_at) VALUES ('across', clock_timestamp());
