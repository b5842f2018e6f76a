create table token_manager.migrations (
    number integer primary key,
    name text not null,
    statements text not null
)
