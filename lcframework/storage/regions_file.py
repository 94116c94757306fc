"""``regions.h5``: a group for each frame, with links to the files of its stamps and PSFs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lcframework.storage.files import atomic
from lcframework.storage.stamp_files import STAMP_DATASETS

REGIONS = "regions.h5"
#: Another name for the first region.
_ALIAS = "ROI"


def write_regions(workdir: Path, frames: Mapping[str, tuple[Sequence[str], Mapping[str, str]]], first_roi: str) -> None:
    """Rebuild ``regions.h5``: one group for each frame, with external links to the write-once files.

    Parameters
    ----------
    workdir : Path
        The project's folder of products.
    frames : mapping
        By frame name: the frame's stamp files, and its PSF files by ``psf_ref``; paths relative to `workdir`. A star
        that belongs to several fields has the same stamp in each of their files.
    first_roi : str
        The region for which ``ROI`` is an alias, unless a region has the name ``ROI``.
    """
    import h5py

    with atomic(workdir / REGIONS) as temporary, h5py.File(temporary, "w") as file:
        root = file.create_group("frames")
        names = {}
        for key, (stamps, psfs) in frames.items():
            group = root.create_group(key)
            names[key] = _link_stamps(group, workdir, stamps)
            for ref, path in psfs.items():
                group[f"psf_{ref}"] = h5py.ExternalLink(path, "/")
        if any(_ALIAS in there for there in names.values()):
            return  # a region has this name: there is no alias, not even in frames without that region
        for key, there in names.items():
            if first_roi in there:
                for kind in STAMP_DATASETS:
                    _link(root[key][kind], _ALIAS, there[first_roi], f"/{kind}/{first_roi}")


def _link_stamps(group: Any, workdir: Path, files: Sequence[str]) -> dict[str, str]:
    """Link the stamps of a frame, and return the file of each stamp by the name of its star or region."""
    import h5py

    found: dict[str, str] = {}
    for path in files:
        with h5py.File(workdir / path, "r") as source:
            found = {**dict.fromkeys(source["data"], path), **found}  # all kinds of datasets have the same names
    group["frame_shape"] = h5py.ExternalLink(files[0], "/frame_shape")
    for kind in STAMP_DATASETS:
        made = group.create_group(kind)
        for name, path in found.items():
            _link(made, name, path, f"/{kind}/{name}")
    return found


def _link(group: Any, name: str, path: str, target: str) -> None:
    """Make an external link with HDF5's own call, which is fast: each run makes hundreds of links for each frame."""
    group.id.links.create_external(name.encode(), path.encode(), target.encode())
