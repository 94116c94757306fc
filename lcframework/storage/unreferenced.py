"""Files of products that nothing refers to any more, for ``lcf clean``."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import sqlalchemy as sa
from sqlmodel import Session, col

from lcframework.storage.files import temporaries
from lcframework.storage.tables import Frame, Product, PsfRow
from lcframework.types import LcfError

#: Files that stages name after what they are made from: the names are nobody else's.
_BY_FINGERPRINT = re.compile(
    r"regions/.+/(stamps|psf|fluxes)_[0-9a-z_]+\.h5|frames/(.+/)?(hot_pixels|master)_[0-9a-f]+\.fits"
)
#: What is left of a frame's files is its key.
_OF_FRAME = re.compile(r"(_sources)?\.fits$|\.wcs$")
#: Where drawn sources are measured. It is deleted at the end, unless the process is killed or the user keeps it, ...
SCRATCH = Path("injections/scratch")
#: ... which a file of this name in it says.
KEPT = "kept_by_user"


@attrs.frozen
class Leftover:
    """A file that nothing refers to, or a folder of such files.

    Attributes
    ----------
    path : str
        Relative to the workdir.
    size : int
        In bytes that its removal frees.
    why : str
        What it is.
    """

    path: str
    size: int
    why: str


def find_unreferenced(session: Session, workdir: Path) -> list[Leftover]:
    """Return the files in the workdir that lcframework made and that neither a product nor a frame refers to.

    A file counts as made by lcframework where its name has a fingerprint, or where it is named as the file of a frame
    in the database. Other folders (light curves, plots, reports, answers of catalogues) are not looked at.

    Raises
    ------
    LcfError
        Where the database has no frame: it may be another project's, and every file would count.
    """
    keys = set(session.execute(sa.select(col(Frame.key))).scalars())
    if not keys:
        raise LcfError(
            f"the database knows no frame, so all files in {workdir} would count as left over: nothing is removed. "
            "Is [project] database the one that these files belong to?"
        )
    referred = _referred(session)
    found = []
    for path in _files(workdir):
        if path in referred:
            continue
        if _BY_FINGERPRINT.fullmatch(path):
            found.append(_leftover(workdir, path, "made from other inputs than now, or not recorded"))
        elif path.startswith("frames/") and _OF_FRAME.sub("", path.rsplit("/", 1)[-1]) in keys:
            found.append(_leftover(workdir, path, "a frame's file that the frame does not name"))
    found += [_leftover(workdir, path, "not finished: of a process that was killed") for path in temporaries(workdir)]
    if (workdir / SCRATCH).is_dir() and not (workdir / SCRATCH / KEPT).exists():
        size = _own_bytes(workdir / SCRATCH)
        found.append(Leftover(str(SCRATCH), size, "drawn sources, of a process that was killed"))
    return sorted(found, key=lambda leftover: leftover.path)


def remove(workdir: Path, leftovers: Sequence[Leftover]) -> None:
    """Delete files, and the folders of frames that are empty then."""
    for leftover in leftovers:
        path = workdir / leftover.path
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for name in ("frames", "regions"):
        for folder, _, _ in os.walk(workdir / name, topdown=False):
            if folder != str(workdir / name) and not os.listdir(folder):
                os.rmdir(folder)


def _referred(session: Session) -> set[str]:
    columns = (Product.path, PsfRow.path, Frame.image_relpath, Frame.sources_relpath, Frame.wcs_relpath)
    return {path for column in columns for path in session.execute(sa.select(col(column))).scalars() if path}


def _files(workdir: Path) -> Iterator[str]:
    """Yield the paths of frames and stamps, relative to the workdir; links are not followed."""
    for name in ("frames", "regions"):
        for folder, _, files in os.walk(workdir / name):
            where = os.path.relpath(folder, workdir)
            yield from (f"{where}/{file}" for file in files)


def _leftover(workdir: Path, path: str, why: str) -> Leftover:
    return Leftover(path, (workdir / path).lstat().st_size, why)


def _own_bytes(folder: Path) -> int:
    """Return the bytes of a folder's files that have no other name: links to files of the project free nothing."""
    found = (path.lstat() for path in folder.rglob("*") if path.is_file())
    return sum(status.st_size for status in found if status.st_nlink == 1)
