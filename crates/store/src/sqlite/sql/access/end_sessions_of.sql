delete from sessions where key = ?1
