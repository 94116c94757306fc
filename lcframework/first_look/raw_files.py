"""Which files of a folder are frames, and where calibration frames are."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import attrs

from lcframework.config.sections import Frames
from lcframework.config.toolbox import GENERIC_REDUCTION
from lcframework.frames.fits_names import fits_ending, likely_pattern
from lcframework.frames.hdu_names import is_about_another
from lcframework.frames.header_cards import text_of
from lcframework.frames.raw_frames import read_raw_header
from lcframework.frames.samples import at_equal_steps
from lcframework.plugins import Plugins
from lcframework.types import LcfError, UnusableInput

#: Folders that calibration frames lie in.
_FOLDER = re.compile(r"calib|^cals?\b|bias|zero|dark|flat|offset", re.IGNORECASE)
#: Files of a folder that are looked at, at equal steps.
MOST = 60
_CALIBRATION = ("bias", "dark", "flat")


@attrs.frozen
class RawFiles:
    """The frames of a folder."""

    folder: Path
    pattern: str  # as `[frames] pattern`
    paths: tuple[Path, ...]


def find_frames(folder: Path, pattern: str | None) -> RawFiles:
    """Return the FITS files of a folder: of its most frequent ending, in sub-folders where none lies in itself.

    Raises
    ------
    LcfError
        Where there is none.
    """
    if pattern:
        found = sorted(p for p in folder.glob(pattern) if p.is_file())
        if not found:
            raise LcfError(f'no file in {folder} matches "{pattern}"')
        return RawFiles(folder, pattern, tuple(found))
    chosen = likely_pattern(folder)
    if chosen:
        return RawFiles(folder, chosen, tuple(sorted(p for p in folder.glob(chosen) if p.is_file())))
    raise LcfError(f"no FITS file in {folder} or its sub-folders; give --pattern where their names end otherwise")


def kind_of(path: Path, plugins: Plugins, settings: Frames | None = None) -> str:
    """Return which kind of frame a file is, by its header: ``"bias"``, ``"dark"``, ``"flat"``, ``"light"`` or ''."""
    cls: Any = next((o.cls for o in plugins.offers("lcf_reductions") if o.name == GENERIC_REDUCTION), None)
    if cls is None:
        return ""
    try:
        header, shape = read_raw_header(path, settings or Frames())
        return str(cls().describe(header, path, shape).kind)
    except (UnusableInput, OSError):
        return ""


def is_calibration(path: Path, plugins: Plugins, settings: Frames | None = None) -> bool:
    """Whether a file is a bias, a dark or a flat by its header."""
    return kind_of(path, plugins, settings) in _CALIBRATION


def image_hdu(path: Path) -> Frames:
    """Return the settings by which a file's image is read: that of the first HDU with one; the defaults without.

    Masks, errors and the like are none.
    """
    for number in range(4):
        settings = Frames(hdu_data=number)
        try:
            header, _ = read_raw_header(path, settings)
        except (UnusableInput, OSError):
            continue
        if number == 0 or not is_about_another(text_of(header, "EXTNAME")):
            return settings
    return Frames()


def calibration_folders(raw: RawFiles, plugins: Plugins) -> tuple[list[Path], str]:
    """Return the folders in and beside that of the frames which hold calibration frames, and their files' pattern."""
    beside = [p for p in sorted({*raw.folder.iterdir(), *raw.folder.parent.iterdir()}) if p.is_dir()]
    named = [p for p in beside if p != raw.folder and _FOLDER.search(p.name)]
    found, endings = [], Counter[str]()
    for folder in [raw.folder, *named]:
        start = "" if folder == raw.folder and "**" not in raw.pattern else "**/"
        files = sorted(p for p in folder.glob(f"{start}*") if p.is_file() and fits_ending(p.name))
        some = [p for p in at_equal_steps(files, MOST) if is_calibration(p, plugins)]
        if some:
            found.append(folder)
            endings.update(filter(None, (fits_ending(p.name) for p in some)))
    ending = endings.most_common(1)[0][0] if endings else ".fits"
    inside = [p for p in found if any(p != q and p.is_relative_to(q) for q in found)]
    return [p for p in found if p not in inside], f"**/*{ending}"
