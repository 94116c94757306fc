"""The kinds of failure."""

from __future__ import annotations


class LcfError(Exception):
    """Anything that lcframework reports to the user without a traceback."""


class UnusableInput(LcfError):
    """This input can't be used: recorded with its reason, and the rest of the run goes on."""


class NeedMissing(LcfError):
    """Something that the work needs is not there; the message names the command or setting that gives it."""


class PluginError(LcfError):
    """A plugin is missing, ambiguous, broken, or breaks the contract of its hook."""
