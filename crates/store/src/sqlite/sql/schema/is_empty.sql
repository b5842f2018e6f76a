select not exists (
    select 1 from sqlite_schema where type in ('table', 'view') and name not like 'sqlite_%'
)
