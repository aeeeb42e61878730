-- What waits is counted for whoever watches, without reading the rows themselves.

create index staged_counted on staged (job, target, kind, since);
create index retries_counted on retries (job, target, quarantined, first_seen);
create index holds_counted on holds (job, target);
