"""The command line ``lcf``: arguments in, calls of :class:`~lcframework.project.Project`, text out; no logic."""
