"""The migration steps; they are executed in the order of their names."""
