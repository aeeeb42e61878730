-- What shows that the record was not changed by another hand, and the target's own id of the request behind a change.

alter table changes add column request text;
-- The account that a creation made stands by itself: what was intended is never written again.
alter table changes add column created text;

-- One row for each write to the record, in the same transaction. "leaves": of each row that was written the beginning of its
-- hash, to find which one differs. "content": the hash over those hashes. "chain": the hash over this row and the chain before.
-- "autoincrement": the number of a deleted row is never given again, so that it is missed.
create table seals (
    id      integer primary key autoincrement,
    at      bigint not null,
    what    text   not null,
    run     text,
    covers  text,
    leaves  blob,
    content blob   not null,
    said    text,
    chain   blob   not null
);
