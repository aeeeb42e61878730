-- Times are milliseconds since 1970 in UTC, JSON is text, flags are 0 or 1: types that every SQL database has.
-- A migration that has been released is never edited: its checksum is recorded in the file.

create table runs (
    id               text   not null primary key,
    job              text   not null,
    target           text   not null,
    fired_by         text   not null,
    began_at         bigint not null,
    ended            text,
    ended_at         bigint,
    plan             text,
    planned          text,
    done             text,
    failed           bigint,
    staged           bigint,
    requests         bigint,
    messages         text,
    size_users       bigint,
    size_groups      bigint,
    size_memberships bigint
);
create index runs_by_time on runs (began_at);
create index runs_by_job on runs (job, target, began_at);
create index runs_open on runs (target) where ended is null;

-- "autoincrement": the number of a pruned change is never given again, so numbers ascend for ever.
create table changes (
    id          integer primary key autoincrement,
    run         text   not null references runs (id) on delete cascade,
    target      text   not null,
    kind        text   not null,
    source      text,
    user_key    text,
    user_name   text,
    group_name  text,
    before      text,
    after       text,
    because     text   not null,
    at          bigint not null,
    outcome     text,
    fault       text,
    why         text,
    left_groups text,
    settled_at  bigint
);
create index changes_by_run on changes (run);
create index changes_open on changes (target) where outcome is null;
create index changes_removals on changes (target, settled_at)
    where kind in ('remove_member', 'deactivate_user', 'delete_user');

create table user_links (
    target        text not null,
    source        text not null,
    user_key      text not null,
    name          text not null,
    email_mark    bigint,
    leaving_since bigint,
    last_asked bigint,
    primary key (target, source)
) without rowid;

create table group_links (
    target    text not null,
    source    text not null,
    group_key text not null,
    name      text not null,
    primary key (target, source, group_key)
) without rowid;

-- The ledger names each user and group once; an entry is two small numbers.
create table ledger_users (
    id     integer primary key,
    target text not null,
    key    text not null,
    unique (target, key)
);
create table ledger_groups (
    id     integer primary key,
    target text not null,
    key    text not null,
    unique (target, key)
);
create table ledger (
    group_id bigint not null,
    user_id  bigint not null,
    primary key (group_id, user_id)
) without rowid;

-- "stamp": which call wrote the row last; rows of an older stamp fell out of the set.
create table staged (
    job        text   not null,
    target     text   not null,
    kind       text   not null,
    user_key   text   not null,
    group_key  text   not null,
    plan       text   not null,
    source     text,
    user_name  text   not null,
    group_name text,
    because    text   not null,
    held_by    text   not null,
    since      bigint not null,
    stamp      bigint not null,
    primary key (job, target, kind, user_key, group_key)
) without rowid;

-- "subject" is 'user' with a key, or 'everything' with an empty one.
create table retries (
    job         text    not null,
    target      text    not null,
    subject     text    not null,
    subject_key text    not null,
    attempts    bigint  not null,
    first_seen  bigint  not null,
    not_before  bigint  not null,
    cause       text    not null,
    quarantined integer not null,
    user_name   text,
    primary key (job, target, subject, subject_key)
) without rowid;

create table rests (
    system      text   not null primary key,
    since       bigint not null,
    cause       text   not null,
    fault       text   not null,
    failures    bigint not null,
    until       bigint,
    fingerprint text
);

-- A lease that was given back keeps its row, so that its generation never starts again.
create table leases (
    name       text   not null primary key,
    holder     text   not null,
    generation bigint not null,
    until      bigint not null
);
