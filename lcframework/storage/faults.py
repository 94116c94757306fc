"""What errors of storage mean: no room or no permission to write, a file that can't be read now, a damaged product."""

from __future__ import annotations

import contextlib
import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from lcframework.types import STORAGE_FAILS, NeedMissing

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NUMBERS = "|".join(str(number) for number in sorted(_FULL))
#: astropy's, NumPy's and HDF5's errors have no number, or are no OSError; their messages quote that of the system.
_FULL_IN_WORDS = re.compile(
    r"not enough space on disk|no space left on device|disk quota exceeded|disk is full"
    r"|\d+ requested and \d+ written"
    rf"|errno = ({_NUMBERS})\b|\[errno ({_NUMBERS})\]",
    re.IGNORECASE,
)
#: Bytes; with less free space an error of storage without a number is put down to it.
_TOO_LITTLE = 1 << 16
#: Begins what frames say of a file that could not be read; such a unit is tried again by the next run.
NOT_READ = "could not be read: "


def disk_full(error: BaseException, folder: Path) -> str:
    """Return that the disk is full, and what to do; empty where that is not what the error says.

    Parameters
    ----------
    error : BaseException
        What was raised; errors that it was raised from count too.
    folder : Path
        Where products are written; its free space is looked at where the error does not tell.
    """
    chain = _chain(error)
    storage = [e for e in chain if isinstance(e, OSError)]
    without_number = bool(storage) and storage[0].errno is None
    if any(_says_full(e) for e in chain) or (without_number and _free(folder) < _TOO_LITTLE):
        return f"No space left on device{_where(storage, folder)}: free disk space for the workdir, and run again"
    return ""


def cannot_write(error: BaseException, folder: Path) -> str:
    """Return why nothing can be written, and what to do; empty where that is not what the error says.

    Parameters as of :func:`disk_full`.
    """
    if full := disk_full(error, folder):
        return full
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in STORAGE_FAILS:  # for all other units too: the run stops
            return (
                f"{each.strerror}{_where([each], folder)}: nothing can be written there. Give permission to write in "
                "the workdir, or mend its disk, and run again"
            )
    return ""


@contextlib.contextmanager
def faults_in_words(folder: Path) -> Iterator[None]:
    """Raise `NeedMissing` where nothing can be written to a folder inside, with what to do."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if why := cannot_write(error, folder):
            raise NeedMissing(why) from None
        raise


def not_read(error: BaseException) -> str:
    """Return why a file can't be read at present, such as a share that is away; empty for what is wrong with a file.

    Only the system's errors have a number. Those of readers, which find no FITS in a file, have none.
    """
    if not isinstance(error, OSError) or error.errno is None:
        return ""
    name = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{name}"


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and those that it was raised from or while handling."""
    found: list[BaseException] = []
    next_one: BaseException | None = error
    while next_one is not None and next_one not in found:
        found.append(next_one)
        next_one = next_one.__cause__ or next_one.__context__
    return found


def _says_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return isinstance(error, OSError | RuntimeError) and bool(_FULL_IN_WORDS.search(str(error)))


def _free(folder: Path) -> float:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return float("inf")  # not known: not what is wrong


def _where(errors: list[OSError], folder: Path) -> str:
    names = [e.filename for e in errors if e.filename]
    return f" ({names[0] if names else folder})"
