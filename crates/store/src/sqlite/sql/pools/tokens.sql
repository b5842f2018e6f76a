select id, value, inserted_at from tokens
where pool = 'default'
order by position
