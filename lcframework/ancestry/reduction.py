"""The calibration by bias, dark and flat: the masters, and the files that they were made of."""

from __future__ import annotations

from typing import Any

from lcframework.ancestry.facts import Line, Section, counted, some
from lcframework.ancestry.makers import by_line, makers
from lcframework.ancestry.records import Records, Row, components_of, file_of
from lcframework.frames.exclusions import IMPORT
from lcframework.types import readable
from lcframework.work import FrameKey, MasterKey

#: A master's recorded digests are the first so many figures of its files'.
_FIGURES = 12
_LISTED = 4


def reduction(records: Records, frame: Row, contents: bool) -> Section:
    """Return what a frame was calibrated by; with `contents`, the files are compared with those of then."""
    product = records.product(IMPORT, FrameKey(frame.id))
    named = components_of(product).get("reduction", {}).get("masters", {})
    masters = [_master(records, frame, name, files, contents) for name, files in named.items()]
    by = makers(records, product, "reduction", frame.instrument)
    data: dict[str, Any] = {
        "text": frame.calibration, "masters": masters,
        "plugin": [m.as_json() for m in by],
    }  # fmt: skip
    if frame.image_relpath is None:
        return Section("calibration", "Calibration frames", None)
    if not frame.calibration and not masters:
        return Section("calibration", "Calibration frames", data, (Line("masters", "none: used as it is"),))
    lines = [_line(master) for master in masters] or [Line("masters", frame.calibration)]
    more = [
        Line("files", f"{m['name']}: " + ", ".join(f"{f['name']} {f['digest']}" for f in m["files"])) for m in masters
    ]
    return Section("calibration", "Calibration frames", data, some([by_line(by), *lines]), some(more))


def _master(records: Records, frame: Row, name: str, files: dict[str, str], contents: bool) -> dict[str, Any]:
    keys = [MasterKey(f"{frame.instrument}:{name}"), MasterKey(name)]
    product = next((p for key in keys if (p := records.product(IMPORT, key)) is not None), None)
    members = [{"name": n, "digest": digest, "state": _state(records, n, digest, contents)}
               for n, digest in files.items()]  # fmt: skip
    return {"name": name, "path": file_of(product), "files": members}


def _state(records: Records, name: str, digest: str, contents: bool) -> str:
    """Return whether a calibration file is there and as it was."""
    row = records.exposures.get(name)
    now = records.around.digest_now(row, contents) if row is not None else None
    if now is None:
        return "away"
    return "unchanged" if now[:_FIGURES] == digest else "changed"


def _line(master: dict[str, Any]) -> Line:
    files = master["files"]
    names = ", ".join(readable(f["name"]) for f in files[:_LISTED]) + (", …" if len(files) > _LISTED else "")
    odd = [
        f"{f['name']} {'CHANGED' if f['state'] == 'changed' else 'AWAY'}" for f in files if f["state"] != "unchanged"
    ]
    made = f" -> {master['path']}" if master["path"] else ""
    trouble = f"; since then: {', '.join(odd[:_LISTED])}" if odd else ""
    return Line(
        "master", f"{master['name']}: {counted(len(files), 'file')} ({names}){made}{trouble}", problem=bool(odd)
    )
