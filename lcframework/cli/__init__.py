"""The command line ``lcf``: parses arguments, calls :class:`~lcframework.project.Project` and prints the results."""
