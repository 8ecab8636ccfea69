-- From a number of one commune to its events, without passing over those of all others.
CREATE INDEX event_type_area_window ON event (type, area, window_time);
