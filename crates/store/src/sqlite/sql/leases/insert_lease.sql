insert into leases ({lease})
values ({lease parameters})
