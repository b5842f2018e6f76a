select number, at, version, actor_id, actor_name, action, pool, subject from audit
where
    number < ?1
    and (?2 is null or ?2 in (actor_id, actor_name))
    and (?3 is null or action = ?3)
    and (?4 is null or pool = ?4)
    and (?5 is null or at >= ?5)
    and (?6 is null or at < ?6)
order by number desc
limit ?7
