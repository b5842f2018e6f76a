create table if not exists migrations (
    number integer primary key,
    name text not null,
    statements text not null
) strict
