-- Decisions are kept after they have ended, with the guards that held the change when it was shown and the source's user.

alter table decisions rename to decisions_before;

create table decisions (
    job        text   not null,
    target     text   not null,
    mark       text   not null,
    plan       text   not null,
    verdict    text   not null,
    kind       text   not null,
    source     text,
    user_name  text   not null,
    group_name text,
    held_by    text   not null,
    actor      text   not null,
    reason     text   not null,
    at         bigint not null,
    expires    bigint,
    ended      bigint
);
-- One decision stands on a change; those before it are kept.
create unique index decisions_standing on decisions (job, target, mark) where ended is null;

-- A mark tells for what cause somebody leaves from now on, so that one from before fits no such change any more. An approval is
-- asked for again. A rejection must not be forgotten: it becomes a hold, which ends as the rejection would have, when the source
-- wants something else of the user; the hold names the plan, there being no run. Of a membership there is no cause, so that a rejection stands where nobody can be held.
insert or ignore into holds (job, target, user_key, user_name, source, run, actor, reason, since)
    select d.job, d.target, l.user_key, l.name, l.source, d.plan, d.actor, d.reason, d.at
    from decisions_before as d join user_links as l on l.target = d.target and (l.name = d.user_name or lower(l.name) = lower(d.user_name))
    where d.verdict = 'rejected';
insert into decisions
    select job, target, mark, plan, verdict, kind, null, user_name, group_name, '[]', actor, reason, at, expires,
        case when verdict = 'rejected' and kind = 'remove_member' and not exists (
            select 1 from user_links as l where l.target = d.target and (l.name = d.user_name or lower(l.name) = lower(d.user_name))
        ) then null else at end
    from decisions_before as d;
drop table decisions_before;
delete from plans;
update staged set mark = '';
