-- What people decide: approvals and rejections of staged removals, holds on what was undone, saved plans.

alter table staged add column mark text not null default '';
alter table changes add column let_by text;
alter table retries add column user_name text;
create index changes_by_source on changes (target, source);

create table plans (
    id      text   not null,
    job     text   not null,
    target  text   not null,
    made    bigint not null,
    expires bigint not null,
    made_by text   not null,
    changes text   not null,
    primary key (id, job, target)
) without rowid;

create table decisions (
    job        text   not null,
    target     text   not null,
    mark       text   not null,
    plan       text   not null,
    verdict    text   not null,
    kind       text   not null,
    user_name  text   not null,
    group_name text,
    actor      text   not null,
    reason     text   not null,
    at         bigint not null,
    expires    bigint,
    primary key (job, target, mark)
) without rowid;

create table holds (
    job       text   not null,
    target    text   not null,
    user_key  text   not null,
    user_name text   not null,
    source    text,
    run       text   not null,
    actor     text   not null,
    reason    text   not null,
    since     bigint not null,
    wish      text,
    primary key (job, target, user_key)
) without rowid;
