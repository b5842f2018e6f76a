update tokens set retired_at = ?2 where id = ?1 and retired_at is null
