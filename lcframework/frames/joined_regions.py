"""Joins the files of stamps and PSFs in ``regions.h5``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sqlmodel import Session, select

from lcframework.storage.regions_file import write_regions
from lcframework.storage.tables import Frame, PsfRow
from lcframework.work import Entry, FrameKey


def join_regions(session: Session, workdir: Path, stamps: Mapping[FrameKey, Entry], first_roi: str) -> None:
    """Rebuild ``regions.h5`` from products, and delete files of stamps and PSFs that belong to no product.

    Parameters
    ----------
    session : Session
        On the project's database.
    workdir : Path
        The project's folder of products.
    stamps : mapping
        The products of stamps, by frame and field.
    first_roi : str
        The region that also has the name ``ROI``.
    """
    frame_names = dict(session.exec(select(Frame.id, Frame.key)).all())
    psfs: dict[int, dict[str, str]] = {}
    for frame_id, ref, psf in session.exec(select(PsfRow.frame_id, PsfRow.psf_ref, PsfRow.path)):
        psfs.setdefault(frame_id, {})[ref] = psf
    frames: dict[str, tuple[list[str], dict[str, str]]] = {}
    for key, product in sorted(stamps.items(), key=lambda item: str(item[0])):
        existing = {ref: path for ref, path in psfs.get(key.frame_id, {}).items() if (workdir / path).exists()}
        if (workdir / product.path).exists():
            frames.setdefault(frame_names[key.frame_id], ([], existing))[0].append(product.path)
    write_regions(workdir, frames, first_roi)
    wanted = {path for files, psf_files in frames.values() for path in (*files, *psf_files.values())}
    for kind in ("stamps", "psf"):
        for path in (workdir / "regions").glob(f"*/{kind}_*.h5"):
            if str(path.relative_to(workdir)) not in wanted:
                path.unlink()
