"""The project file: its sections, what TOML becomes, and the plugins that it selects."""
