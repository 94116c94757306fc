"""A run: the order of the stages, the driver, and how a project and its frames stand."""
