-- When a line of a timeline was written down, for whoever looks at a case as of a past moment. Of older lines only the
-- moment is known at which what they tell of was received (`recorded_at`).
ALTER TABLE case_entry ADD COLUMN kept_at timestamptz;
ALTER TABLE case_entry ALTER COLUMN kept_at SET DEFAULT clock_timestamp();
