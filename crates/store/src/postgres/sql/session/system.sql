select to_hex(system_identifier) from pg_control_system()
