select count(*) from (select 1 from leases group by fence having count(*) > 1)
