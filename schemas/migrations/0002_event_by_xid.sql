-- Boards read events in commit order: the newest first, page by page, and those of the transactions just committed.
CREATE INDEX event_xid ON event (xid, source, id);
