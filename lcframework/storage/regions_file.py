"""``regions.h5``: a group for each frame, with links to the files of its stamps and PSFs."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from lcframework.storage import hdf5
from lcframework.storage.stamp_files import ALIAS, ALIAS_OF, STAMP_DATASETS, TOGETHER

REGIONS = "regions.h5"
#: A dataset that tells from which files each frame's group was made, as compressed JSON; and its attribute, the number
#: of groups that were replaced: HDF5 does not give back their room.
_MADE_FROM, _REPLACED = "made_from", "replaced"


@attrs.frozen
class FrameFiles:
    """The files of a frame, relative to the workdir: of its stamps, and of its PSFs by ``psf_ref``.

    A star that belongs to several fields has the same stamp in each of their files.
    """

    stamps: Sequence[str]
    psfs: Mapping[str, str] = attrs.field(factory=dict)

    def described(self, alias_of: str) -> list[Any]:
        """Return as JSON what the frame's group is made from."""
        return [alias_of, list(self.stamps), dict(self.psfs)]


def write_regions(workdir: Path, frames: Mapping[str, FrameFiles], alias_of: str) -> dict[str, set[str]]:
    """Bring ``regions.h5`` up to date: one group for each frame, with external links to the write-once files.

    Only the groups of frames whose files changed are made; the others are copied with the file as a whole. The new file
    replaces the old one when it is complete.

    Parameters
    ----------
    workdir : Path
        The project's folder of products.
    frames : mapping
        By frame name.
    alias_of : str
        The region that is also called ``ROI``; empty: none.

    Returns
    -------
    dict of str to set of str
        For each frame whose group was made or removed, the folders of its files, before and now.
    """
    path = workdir / REGIONS
    wanted = {key: files.described(alias_of) for key, files in frames.items()}
    before, replaced = _made_from(path)
    gone = [key for key in before if key not in wanted]
    new = [key for key, files in wanted.items() if before.get(key) != files]
    replaced += len(gone) + sum(key in before for key in new)
    if not before or replaced > len(wanted):
        with hdf5.new_file(path) as file:
            _link_frames(file, workdir, frames, list(wanted), alias_of)
            _note(file, wanted, 0)
    else:
        with hdf5.changed_file(path) as file:
            for key in gone:
                del file["frames"][key]
            _link_frames(file, workdir, frames, new, alias_of)
            _note(file, wanted, replaced)
    return {key: _folders(before.get(key)) | _folders(wanted.get(key)) for key in (*gone, *new)}


def _folders(described: list[Any] | None) -> set[str]:
    """Return the folders of a frame's files, by what its group is made from."""
    if described is None:
        return set()
    _, stamps, psfs = described
    return {path.rpartition("/")[0] for path in (*stamps, *psfs.values())}


def _link_frames(
    file: Any, workdir: Path, frames: Mapping[str, FrameFiles], keys: Sequence[str], alias_of: str
) -> None:
    """Make the groups of some frames, in the place of those that are there."""
    root = file.require_group("frames")
    for key in keys:
        if key in root:
            del root[key]
        _link_frame(root.create_group(key), workdir, frames[key], alias_of)


def _made_from(path: Path) -> tuple[dict[str, list[Any]], int]:
    """Return by frame what its group was made from, and how many groups were replaced; nothing for an old file."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            noted = file[_MADE_FROM]
            return json.loads(zlib.decompress(noted[()].tobytes())), int(noted.attrs[_REPLACED])
    except (OSError, KeyError, ValueError, zlib.error):
        return {}, 0  # there is none, one of an earlier version, or a damaged one: all is made again


def _note(file: Any, wanted: Mapping[str, list[Any]], replaced: int) -> None:
    if _MADE_FROM in file:
        del file[_MADE_FROM]
    file[_MADE_FROM] = np.frombuffer(zlib.compress(json.dumps(wanted).encode(), 1), np.uint8)
    file[_MADE_FROM].attrs[_REPLACED] = replaced


def _link_frame(group: Any, workdir: Path, files: FrameFiles, alias_of: str) -> None:
    """Link a frame's stamps and PSFs: the groups of its file as they are, or stamp by stamp where that won't do."""
    first = files.stamps[0]
    _link(group, "frame_shape", first, "/frame_shape")
    if len(files.stamps) == 1 and _alias_fits(workdir / first, alias_of):
        for kind in STAMP_DATASETS:
            _link(group, kind, first, f"/{kind}")
    else:
        _link_stamps(group, workdir, files.stamps, alias_of)
    for ref, path in files.psfs.items():
        _link(group, f"psf_{ref}", path, "/")


def _alias_fits(path: Path, alias_of: str) -> bool:
    """Return whether a file's stamps have the alias that they should have."""
    with hdf5.opened_product(path) as file:
        if TOGETHER not in file:
            return False
        has = file[TOGETHER].attrs[ALIAS_OF]
        return bool(has == alias_of or (not has and alias_of not in file["data"]))


def _link_stamps(group: Any, workdir: Path, paths: Sequence[str], alias_of: str) -> None:

    found: dict[str, str] = {}
    for path in paths:
        with hdf5.opened_product(workdir / path) as source:
            aliased = TOGETHER in source and source[TOGETHER].attrs[ALIAS_OF]
            names = [name for name in source["data"] if not (aliased and name == ALIAS)]
            found = {**dict.fromkeys(names, path), **found}  # all kinds of datasets have the same names
    for kind in STAMP_DATASETS:
        made = group.create_group(kind)
        for name, path in found.items():
            _link(made, name, path, f"/{kind}/{name}")
        if alias_of in found:
            _link(made, ALIAS, found[alias_of], f"/{kind}/{alias_of}")


def _link(group: Any, name: str, path: str, target: str) -> None:
    """Make an external link with HDF5's own call, which is fast."""
    group.id.links.create_external(name.encode(), os.fsencode(path), target.encode())
