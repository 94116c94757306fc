"""What frames decided about settings, what is doubtful about the number, and its flags."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from lcframework.ancestry.facts import Line, Section, counted, some
from lcframework.ancestry.published import number
from lcframework.ancestry.records import Records, Row
from lcframework.config.project_file import setting_path
from lcframework.running.doubts import PROJECT
from lcframework.settings.deciding import shown
from lcframework.types import EpochFlag, FrameFlag, Severity, file_name

#: The number of decisions and of notes that are shown.
_SHOWN = 6


def decisions(records: Records, frame: Row, roi: str) -> Section:
    """Return how the settings that frames can decide stand for a frame's instrument."""
    of_frame = [
        s
        for s in records.around.decisions
        if s.instrument in ("", frame.instrument)
        and (not s.setting.startswith("roi.") or setting_path(s.setting)[1] == roi)
    ]
    data = [
        {"setting": s.setting, "instrument": s.instrument, "value": s.value, "decided_by": s.by, "why": s.why,
         "alternatives": s.alternatives, "frames": s.frames, "wanted": s.wanted, "frozen": s.frozen,
         "disagreement": s.disagreement, "doubt": s.doubt, "rule": s.rule}
        for s in of_frame
    ]  # fmt: skip
    decided = [s for s in of_frame if s.by == "frames"]
    others = [s for s in of_frame if s.by != "frames" and s.value is not None]
    lines = [
        Line(s.setting, ". ".join(filter(None, (f"{shown(s.value)}: {s.why}", s.doubt, s.disagreement))),
             problem=bool(s.doubt or s.disagreement))
        for s in decided
    ]  # fmt: skip
    more = [Line(s.setting, f"{shown(s.value)}, by the {s.by}") for s in others]
    return Section("decisions", "Settings that frames decided", data, tuple(lines), tuple(more))


def doubts(records: Records, frame: Row, roi: str, units: Collection[tuple[str, str]]) -> Section:
    """Return the doubts about a frame, its group and the project, and the flags of the epoch."""
    found = [d for d in records.doubts if d.frame_id == frame.id or (d.frame_id is None and _concerns(d, frame, units))]
    found.sort(key=lambda d: (Severity(d.severity).rank, d.stage == PROJECT, d.kind))
    row = records.published.curve(roi).get(frame.id)
    flags = number(row, "flags")
    epoch = [f.name for f in EpochFlag if row and int(flags) & f.value]
    of_frame = [f.name for f in FrameFlag if (frame.flags or 0) & f.value]
    data: dict[str, Any] = {
        "epoch_flags": epoch, "frame_flags": of_frame,
        "doubts": [
            {"kind": d.kind, "severity": d.severity, "about": _about(d), "subject": d.subject, "text": d.text,
             "remedy": d.remedy, "value": d.value, "stage": d.stage}
            for d in found
        ],
    }  # fmt: skip
    notes = [d for d in found if d.severity == Severity.NOTE.value]
    lines = [
        Line("flags of the epoch", (", ".join(map(str, epoch)) or "none") if row else ""),
        Line("flags of the frame", ", ".join(map(str, of_frame))),
        *(_line(d) for d in found if d.severity != Severity.NOTE.value),
        *(_line(d) for d in notes[:_SHOWN]),
        Line("notes", f"{counted(len(notes) - _SHOWN, 'more note')}: --full" if len(notes) > _SHOWN else ""),
    ]
    if not found:
        lines.append(Line("doubts", "none"))
    return Section("doubts", "Flags and doubts", data, some(lines), some([_line(d) for d in notes[_SHOWN:]]))


def _concerns(doubt: Row, frame: Row, units: Collection[tuple[str, str]]) -> bool:
    """Return whether a doubt of no single frame is about a frame too; those of the project may name their files."""
    if doubt.stage != PROJECT:
        return (doubt.stage, doubt.unit) in units
    return doubt.subject.isdigit() or file_name(frame.original_image_path) in doubt.subject.split(", ")


def _about(doubt: Row) -> str:
    if doubt.frame_id is not None:
        return "this frame"
    return "the project" if doubt.stage == PROJECT else "its group of frames"


def _line(doubt: Row) -> Line:
    remedy = f". {doubt.remedy}" if doubt.remedy else ""
    subject = (
        f"; {doubt.subject}" if doubt.subject and doubt.stage != PROJECT and doubt.subject not in doubt.text else ""
    )
    text = f"{doubt.text}{remedy} ({_about(doubt)}{subject})"
    return Line(str(doubt.severity), text, problem=doubt.severity != Severity.NOTE.value)
