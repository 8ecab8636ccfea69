"""Events become state: from batches on the log to KPIs, change feed and positions in one transaction."""
