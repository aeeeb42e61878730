-- Who ended a rest, a quarantine or holds, by a person's word. "holds" and "due" name who was let go.

create table releases (
    id     integer primary key autoincrement,
    at     bigint not null,
    actor  text   not null,
    reason text,
    what   text   not null,
    rest   text,
    holds  text   not null,
    due    text   not null
);
