"""The exceptions that lcframework and its plugins raise."""

from __future__ import annotations


class LcfError(Exception):
    """Anything that lcframework reports to the user without a traceback."""


class UnusableInput(LcfError):
    """An input can't be used; the reason is recorded, and the rest of the run continues."""


class NeedMissing(LcfError):
    """Something that the work needs is missing; the message names the command or option that provides it."""


class PluginError(LcfError):
    """A plugin is missing, ambiguous, broken, or breaks the contract of its hook."""
