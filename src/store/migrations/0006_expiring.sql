-- When the credentials of systems expire, as far as the systems tell, and whether people were told that it is soon.

create table expiring (
    system text   not null primary key,
    at     bigint not null,
    told   bigint not null
);
