"""The user's settings: flags, environment and `config.toml`. Nothing here knows what the settings are for."""
