"""The exceptions that lcframework and its plugins raise."""

from __future__ import annotations

import errno
from pathlib import Path

from lcframework.types.secrets import readable, redacted

#: The system's numbers of errors by which storage fails: no room, no permission, a device or share that is gone.
STORAGE_FAILS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE}
)


class LcfError(Exception):
    """Anything that lcframework reports to the user without a traceback; its text holds no password."""

    def __str__(self) -> str:
        """Return the message, without secrets that were in what it quotes."""
        return readable(redacted(super().__str__()))


class UnusableInput(LcfError):
    """An input can't be used; the reason is recorded, and the rest of the run continues."""


class NeedMissing(LcfError):
    """Something that the work needs is missing; the message names the command or option that provides it."""


class DamagedProduct(LcfError):
    """A file in the workdir is missing or not as it was written; the unit that made it makes it again.

    Parameters
    ----------
    path : str or Path
        The file.
    wrong : str
        What is wrong with it.
    """

    def __init__(self, path: str | Path, wrong: str) -> None:
        super().__init__(f"{path}: {wrong}")
        self.path, self.wrong = str(path), wrong


class PluginError(LcfError):
    """A plugin is missing, ambiguous, broken, or breaks the contract of its hook."""
