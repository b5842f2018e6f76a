-- Obstacles to a migration by this role: no schema and no right to create it, or tables of another role.
select format('grant create on database %I to %I', current_database(), current_user)
where not exists (select from pg_namespace where nspname = 'token_manager')
    and not has_database_privilege(current_database(), 'create')
union all
select format('grant create, usage on schema token_manager to %I', current_user)
from pg_namespace
where nspname = 'token_manager' and not has_schema_privilege(oid, 'create')
union all
select distinct format('grant %I to %I', owner.rolname, current_user)
from pg_class as class
join pg_roles as owner on owner.oid = class.relowner
where class.relnamespace = (select oid from pg_namespace where nspname = 'token_manager')
    and class.relkind = 'r'
    and not pg_has_role(class.relowner, 'usage')
