-- Some may be deleted already, because they are over. $2: keys that were revoked.
delete from token_manager.sessions
where hash = any ($1::bytea[]) or key = any ($2::text[])
