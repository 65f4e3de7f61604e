"""The state directory: one TOML file per job, durable writes, the lock."""
