-- Where everything was copied to. While there is a row nothing is written, for what would be written here is not there.

create table moved (
    place text   not null primary key,
    at    bigint not null
);
