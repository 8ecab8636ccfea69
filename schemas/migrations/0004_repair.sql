-- What back-fills and rebuilds have to remember.

-- `site_version`: the site pack by which a back-fill counts; an event that was counted by this one or a later one is not
-- the back-fill's. `since`: buckets before this moment are not filled back (null: all are).
ALTER TABLE backfill
    ADD COLUMN site_version integer NOT NULL DEFAULT 0,
    ADD COLUMN since        timestamptz;

-- How often stored figures were counted again: what a worker remembers of them from before is void.
ALTER TABLE feed ADD COLUMN recounts bigint NOT NULL DEFAULT 0;

-- A back-fill reads kept events in the order of the log.
CREATE INDEX event_offset ON event (topic, partition, "offset");
