"""Joins the files of stamps and PSFs in ``regions.h5``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa
from sqlmodel import Session, col

from lcframework.config.project_file import Config
from lcframework.storage.regions_file import FrameFiles, write_regions
from lcframework.storage.stamp_files import ALIAS
from lcframework.storage.tables import Frame, PsfRow
from lcframework.work import Entry, FrameKey, ProductState


def aliased_region(config: Config) -> str:
    """Return the region that ``ROI`` is another name of: the first one, unless a region has this name itself."""
    return "" if ALIAS in config.roi else next(iter(config.roi))


def join_regions(session: Session, workdir: Path, stamps: Mapping[FrameKey, Entry], alias_of: str) -> None:
    """Bring ``regions.h5`` up to date with products, and delete files that products of changed frames replaced.

    Parameters
    ----------
    session : Session
        On the project's database.
    workdir : Path
        The project's folder of products.
    stamps : mapping
        The products of stamps, by frame and field; files of those that are to be made again stay until they are.
    alias_of : str
        The region that also has the name ``ROI``; empty: none.
    """
    names = {frame_id: key for frame_id, key in session.execute(sa.select(col(Frame.id), col(Frame.key)))}
    psfs: dict[int, dict[str, str]] = {}
    for frame_id, ref, path in session.execute(
        sa.select(col(PsfRow.frame_id), col(PsfRow.psf_ref), col(PsfRow.path)).order_by(PsfRow.psf_ref)
    ):
        if _is_there(workdir, path):
            psfs.setdefault(frame_id, {})[ref] = path
    files: dict[int, list[str]] = {}
    for key, product in sorted(stamps.items(), key=lambda item: (item[0].frame_id, item[0].field)):
        if product.state != ProductState.UNUSABLE and _is_there(workdir, product.path):
            files.setdefault(key.frame_id, []).append(product.path)
    frames = {names[frame_id]: FrameFiles(paths, psfs.get(frame_id, {})) for frame_id, paths in files.items()}
    for name, folders in write_regions(workdir, frames, alias_of).items():
        _remove_replaced(workdir, frames.get(name), folders)


def _is_there(workdir: Path, path: str) -> bool:
    return os.path.exists(f"{workdir}/{path}")  # twenty thousand times: a `Path` would take four times as long


def _remove_replaced(workdir: Path, files: FrameFiles | None, folders: set[str]) -> None:
    """Delete the stamps and PSFs in a frame's folders that are not in `files`."""
    kept = {workdir / path for path in (*files.stamps, *files.psfs.values())} if files else set()
    for folder in folders:
        for kind in ("stamps", "psf"):
            for path in (workdir / folder).glob(f"{kind}_*.h5"):
                if path not in kept:
                    path.unlink()
