-- Which version of a case or a unit holds is asked for with every change of it, and there is one: without these each
-- change would look through all versions that are kept of it.
CREATE UNIQUE INDEX case_version_present ON case_version (case_id) WHERE until_at = 'infinity';
CREATE UNIQUE INDEX unit_version_present ON unit_version (unit) WHERE until_at = 'infinity';

-- A page of all cases as they stood, those opened last first. Both moments are in the key, so that versions which did not
-- hold then are passed over without being read.
CREATE INDEX case_version_opened ON case_version (opened_at DESC, case_id DESC, at, until_at);
