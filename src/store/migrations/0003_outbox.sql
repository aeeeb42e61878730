-- What is to be told by webhook, and which systems have failed and were not seen to answer since: a rest ends with a reload
-- already, the failure only with an answer.

create table outbox (
    id         integer primary key autoincrement,
    hook       text   not null,
    event      text   not null,
    at         bigint not null,
    attempts   bigint not null,
    not_before bigint not null
);
create index outbox_by_hook on outbox (hook, id);

create table ailing (
    system text   not null primary key,
    since  bigint not null
);
insert into ailing (system, since) select system, since from rests;
