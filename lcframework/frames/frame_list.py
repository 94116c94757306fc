"""Which raw files there are: found on disk, and given their rows and keys in the database."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlmodel import Session, col, select

from lcframework.config.project_file import Config
from lcframework.config.structuring import place
from lcframework.provenance import digest, file_digest
from lcframework.storage.tables import CombinedFootprint, Frame, Product
from lcframework.types import FrameFlag, LcfError

EXCLUDED_IN_FILE = "excluded by [frames] exclude"
EXCLUDED_BY_COMMAND = "excluded: "
SET_ASIDE = "a calibration frame by its header: "
IMPORT, PLATE_SOLVING = "read_convert_skysub_character_catalog", "plate_solving"
#: What is so strange about a frame that its header may be misread.
STRANGE = {
    FrameFlag.SUN_UP: "the sun was above the horizon; are times and [telescope] right?",
    FrameFlag.TARGET_DOWN: "a region of interest was below the horizon; are times and [telescope] right?",
    FrameFlag.ODD_TIME: "the time lies before 1972 or is yet to come; is it read from the right keyword?",
}
#: Keys that would name other products in ``frames/``.
_RESERVED = re.compile(r"_sources$|^field_stars$|^hot_pixels_|^master_")
_SUFFIXES = re.compile(r"\.(fits?|fts|fz|gz|bz2)$", re.IGNORECASE)


def find_files(config: Config) -> list[Path]:
    """Return the raw files, sorted.

    Raises
    ------
    LcfError
        Where a folder is missing.
    """
    found: set[Path] = set()
    for name in config.frames.raw_dirs:
        folder = place(name, config.directory).resolve()
        if not folder.is_dir():
            unset = " (is the environment variable set?)" if "$" in str(folder) else ""
            raise LcfError(f'[frames] raw_dirs: "{name}" is not a folder; looked for {folder}{unset}')
        found.update(p for p in folder.glob(config.frames.pattern) if p.is_file())
    return sorted(found)


def idle_exclusions(config: Config) -> list[str]:
    """Return a sentence on each name of ``[frames] exclude`` that no file has, with the nearest that one has."""
    if not config.frames.exclude:
        return []
    try:
        names = {p.name for p in find_files(config)}
    except LcfError:
        return []  # a folder is missing: that is told elsewhere
    out = []
    for name in sorted(set(config.frames.exclude) - names):
        near = difflib.get_close_matches(name, sorted(names), n=3, cutoff=0.6)
        hint = f"; the nearest: {', '.join(near)}" if near else ""
        out.append(f'[frames] exclude names "{name}", and no file is called so{hint}')
    return out


def strange_frames(session: Session) -> list[str]:
    """Return a sentence on each kind of strange circumstance, with the frames that it holds for."""
    frames = session.exec(select(Frame).where(Frame.flags > 0, ~col(Frame.eliminated)).order_by(col(Frame.id))).all()
    out = []
    for flag, text in STRANGE.items():
        names = [Path(f.original_image_path).name for f in frames if f.flags & flag]
        if names:
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            out.append(f"{text}: {len(names)} frame{'s' if len(names) > 1 else ''} ({shown})")
    return out


def update_frames(session: Session, config: Config) -> list[Frame]:
    """Give every raw file its row; refresh digests of files that changed; return rows whose file is there."""
    known = {f.original_image_path: f for f in session.exec(select(Frame))}
    keys = {f.key for f in known.values()}
    paths = find_files(config)
    digests = _digests(paths, known)
    found = set(map(str, paths))
    gone: dict[str, list[Frame]] = {}
    for name, row in known.items():
        if name not in found:
            gone.setdefault(row.raw_digest, []).append(row)
    frames = []
    for path in paths:
        frame = known.get(str(path))
        if frame is None:
            # A folder that was moved or mounted elsewhere brings no new frames: the contents tell.
            moved = gone.get(digests[path], [])
            frame = moved.pop(0) if moved else Frame(original_image_path=str(path), key=_new_key(path, keys))
            frame.original_image_path = str(path)
            keys.add(frame.key)
            session.add(frame)
        if path in digests:
            stat = path.stat()
            frame.raw_size, frame.raw_mtime_ns, frame.raw_digest = stat.st_size, stat.st_mtime_ns, digests[path]
        _apply_exclusion(session, frame, path.name in config.frames.exclude)
        frames.append(frame)
    session.flush()
    return frames


def _digests(paths: list[Path], known: dict[str, Frame]) -> dict[Path, str]:
    """Return the digests of files that are new, or whose size or time changed."""
    changed = []
    for path in paths:
        stat, frame = path.stat(), known.get(str(path))
        if frame is None or (frame.raw_size, frame.raw_mtime_ns) != (stat.st_size, stat.st_mtime_ns):
            changed.append(path)
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(changed, pool.map(file_digest, changed), strict=True))


def _new_key(path: Path, taken: set[str]) -> str:
    stem = path.name
    while _SUFFIXES.search(stem):
        stem = _SUFFIXES.sub("", stem)
    stem = re.sub(r"[^\w.+-]", "_", stem) or "frame"
    # Two files of one name in two folders: the later one's key tells them apart by its path.
    return f"{stem}-{digest(str(path), 8)}" if stem in taken or _RESERVED.search(stem) else stem


def _apply_exclusion(session: Session, frame: Frame, listed: bool) -> None:
    if listed:
        frame.eliminated, frame.comment = True, EXCLUDED_IN_FILE
    elif frame.comment == EXCLUDED_IN_FILE:
        take_back(session, frame)


def take_out(session: Session, names: Sequence[str], why: str) -> int:
    """Exclude frames, and return how many.

    Parameters
    ----------
    session : Session
        On the project's database.
    names : sequence of str
        File names, paths or keys.
    why : str
        The reason that is recorded.

    Raises
    ------
    LcfError
        Where a name is no frame's.
    """
    frames = _named(session, names)
    for _, frame in frames:
        frame.eliminated, frame.comment = True, EXCLUDED_BY_COMMAND + why
    return len({frame.id for _, frame in frames})


def take_in(session: Session, names: Sequence[str]) -> int:
    """Undo exclusions by :func:`take_out`, and return how many.

    Raises
    ------
    LcfError
        Where a name is no frame's, or its frame is not excluded, or not so.
    """
    frames = _named(session, names)
    for name, frame in frames:
        if not frame.comment.startswith(EXCLUDED_BY_COMMAND):
            state = frame.comment if frame.eliminated else "not excluded"
            raise LcfError(f"{name} can't be taken back in: {state}")
    for _, frame in frames:
        take_back(session, frame)
    return len({frame.id for _, frame in frames})


def _named(session: Session, names: Sequence[str]) -> list[tuple[str, Frame]]:
    """Return the frames of names, each beside its name: files in several folders may share one."""
    frames = list(session.exec(select(Frame)))
    found = []
    for name in names:
        mine = [f for f in frames if name in (f.key, Path(f.original_image_path).name, f.original_image_path)]
        if not mine:
            raise LcfError(f'no frame is called "{name}"; `lcf status` lists them')
        found += [(name, frame) for frame in mine]
    return found


def take_back(session: Session, frame: Frame) -> None:
    """Undo an exclusion: the frame stands as the stages left it."""
    own = f"frame:{frame.id}"
    # Later stages work on a frame once for each field of reference stars.
    fields = session.exec(select(CombinedFootprint.hash).where(CombinedFootprint.active))
    mine = col(Product.unit).in_([own, *(f"{own}:{field}" for field in fields)])
    unusable = select(Product).where(mine, Product.state == "unusable")
    last_first = (col(Product.run_id).desc(), col(Product.stage), col(Product.unit))
    reasons: dict[str, str] = {}
    for product in session.exec(unusable.order_by(*last_first)):
        reasons.setdefault(product.stage, product.reason)
    later = next((f"{stage}: {why}" for stage, why in reasons.items() if stage not in (IMPORT, PLATE_SOLVING)), "")
    frame.eliminated = IMPORT in reasons
    frame.comment = reasons.get(IMPORT) or reasons.get(PLATE_SOLVING) or later


def set_aside(session: Session, frame: Frame, why: str) -> None:
    """Take a frame out that is none of the sky; or back in, where `why` is empty and that was the reason."""
    if why:
        frame.eliminated, frame.comment = True, why
    elif frame.comment.startswith(SET_ASIDE):
        take_back(session, frame)


def excluded(frame: Frame) -> bool:
    """Whether the user took the frame out."""
    return frame.eliminated and (frame.comment == EXCLUDED_IN_FILE or frame.comment.startswith(EXCLUDED_BY_COMMAND))
