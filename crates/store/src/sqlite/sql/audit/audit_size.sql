select count(*) from pools as p
where p.size <> (select count(*) from tokens as t where t.pool = p.name)
