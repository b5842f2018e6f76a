-- Statements that grant this role the rights it lacks to serve the pool in the existing schema. By oid,
-- since names can't be looked up without the right to use the schema.
with needed (relation, privileges) as (
    values
        ('migrations', '{select}'::text[]),
        ('ledger', '{select,update}'),
        ('pools', '{select,insert,update}'),
        ('tokens', '{select,insert,update}'),
        ('retiring_tokens', '{select,insert,delete}'),
        ('leases', '{select,insert,update,delete}'),
        ('pool_leases', '{select,insert,delete}'),
        ('batches', '{select,insert,update,delete}'),
        ('tickets', '{select,insert,update,delete}'),
        ('servers', '{select,insert,update,delete}'),
        ('idempotency_keys', '{select,insert,update,delete}'),
        ('api_keys', '{select,insert,update}'),
        ('sessions', '{select,insert,update,delete}'),
        ('audit', '{select,insert,delete}')
)
select format('grant usage on schema token_manager to %I', current_user)
from pg_namespace
where nspname = 'token_manager' and not has_schema_privilege(oid, 'usage')
union all
select format(
    'grant %s on token_manager.%I to %I', string_agg(privilege, ', '), needed.relation, current_user
)
from needed
cross join unnest(needed.privileges) as privilege
join pg_class as class on class.relname = needed.relation and class.relkind = 'r'
where class.relnamespace = (select oid from pg_namespace where nspname = 'token_manager')
    and not has_table_privilege(class.oid, privilege)
group by needed.relation
union all
select distinct
    format('grant execute on all functions in schema token_manager to %I', current_user)
from pg_proc
where pronamespace = (select oid from pg_namespace where nspname = 'token_manager')
    and proname in ('end_leases', 'renew_leases', 'leave_queue', 'move_tickets')
    and not has_function_privilege(oid, 'execute')
