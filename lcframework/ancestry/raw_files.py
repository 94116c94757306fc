"""The raw file: what was imported, and whether the file is still that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lcframework.ancestry.facts import Line, Section, counted, moment_of, some
from lcframework.ancestry.records import Records, Row, components_of
from lcframework.frames.exclusions import IMPORT
from lcframework.provenance import ABSENT, file_digest
from lcframework.types import readable
from lcframework.work import FrameKey

UNCHANGED, CHANGED, AWAY, UNREADABLE, NOT_IMPORTED = "unchanged", "changed", "away", "unreadable", "not imported"
#: What the digests are.
DIGEST = "SHA-256, the first 40 of its 64 figures"


def raw_file(records: Records, frame: Row, contents: bool) -> Section:
    """Return what is known of a frame's raw file.

    Parameters
    ----------
    records : Records
        What was read.
    frame : row of ``frames``
        The frame.
    contents : bool
        Whether to read the whole file. Without it contents are compared where size or time are not as recorded.
    """
    path = path_of(records, frame)
    product = records.product(IMPORT, FrameKey(frame.id))
    digest = components_of(product).get("raw", "") or frame.raw_digest
    data: dict[str, Any] = {
        "path": readable(str(path)), "size_bytes": frame.raw_size or None,
        "changed_at": moment_of(frame.raw_mtime_ns) if frame.raw_mtime_ns else None, "digest": digest,
        "digest_is": DIGEST, "compared_by": "contents", "state": UNCHANGED, "size_bytes_now": None,
        "changed_at_now": None, "digest_now": None,
    }  # fmt: skip
    try:
        stat = path.stat()
    except OSError:
        data["state"] = AWAY
    else:
        data |= {"size_bytes_now": stat.st_size, "changed_at_now": moment_of(stat.st_mtime_ns)}
        as_recorded = (stat.st_size, stat.st_mtime_ns) == (frame.raw_size, frame.raw_mtime_ns)
        if as_recorded and frame.raw_digest == digest and not contents:
            data |= {"compared_by": "size and time", "digest_now": digest}
        else:
            data["digest_now"] = file_digest(path)
            data["state"] = _compared(digest, data["digest_now"])
    return Section("raw_file", "Raw file", data, _lines(data), _more(data))


def path_of(records: Records, frame: Row) -> Path:
    """Return the path of a frame's raw file: where it was found, or where a folder of raw files has it by now."""
    path = records.project.config.directory / Path(frame.original_image_path)
    same_name = records.around.raw_files.get(path.name, ())
    return same_name[0] if len(same_name) == 1 else path


def _compared(imported: str, now: str) -> str:
    if now == ABSENT:
        return UNREADABLE
    if not imported:
        return NOT_IMPORTED
    return UNCHANGED if now == imported else CHANGED


def _lines(data: dict[str, Any]) -> tuple[Line, ...]:
    digest = f"{data['digest'][:16]}…" if data["digest"] else "not recorded"
    said = {
        UNCHANGED: f"as it was imported: SHA-256 {digest}, compared by {data['compared_by']}",
        CHANGED: f"CHANGED since it was imported: SHA-256 {digest} then, {str(data['digest_now'])[:16]}… now; the "
        "number is of the file of then. `lcf run` imports the new one",
        AWAY: f"AWAY: it is not there now, so that nothing can be compared; SHA-256 {digest} when it was imported",
        UNREADABLE: f"it can't be read now; SHA-256 {digest} when it was imported",
        NOT_IMPORTED: "not imported yet",
    }[data["state"]]
    return some([
        Line("file", f"{data['path']}{_size(data['size_bytes'])}"),
        Line("contents", said, problem=data["state"] in (CHANGED, AWAY, UNREADABLE)),
    ])  # fmt: skip


def _size(size: int | None) -> str:
    return "" if not size else f", {size / 1e6:.2f} MB" if size >= 10_000 else f", {counted(size, 'byte')}"


def _more(data: dict[str, Any]) -> tuple[Line, ...]:
    then, now = data["changed_at"], data["changed_at_now"]
    return some([
        Line("written", (then or "unknown") + (f", now {now}" if now and now != then else "")),
        Line("digest", f"{data['digest'] or 'not recorded'} ({DIGEST})"),
    ])  # fmt: skip
