"""What a search is configured with: the settings, TOML, plug-ins, and the components that names stand for."""
