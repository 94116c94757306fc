"""A run: the order of the stages, the driver, and the state of a project and its frames."""
