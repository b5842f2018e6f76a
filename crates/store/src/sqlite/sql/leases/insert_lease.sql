insert into leases (pool, {lease})
values ('default', {lease parameters})
