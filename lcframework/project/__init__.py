"""The Python interface: a project file, its runs and its results.

:class:`Project` opens a project file and runs it (`project`); what it can be asked is in `state` and `results`, and
what all of these need in `database`.
"""

from lcframework.project.project import Project

__all__ = ["Project"]
