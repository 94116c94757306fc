"""The driver's part of the reduction: finds calibration frames, and plans the masters for each frame.

Only headers are read here, each once. Their values are stored in the table ``exposures`` until the file, or the way it
is read, changes. As for raw frames, the digest of a file is computed again only where its size or time has changed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import attrs
from sqlmodel import Session, select

from lcframework.config.project_file import Config
from lcframework.config.sections import Frames
from lcframework.config.structuring import resolve_path
from lcframework.config.toolbox import Tool, Toolbox
from lcframework.frames.exclusions import SET_ASIDE, takes_part
from lcframework.frames.found_file import FoundFile
from lcframework.frames.header_parsing import read_band
from lcframework.frames.raw_folders import admitted
from lcframework.protocols import DoubtsReduction
from lcframework.provenance import ABSENT, Components, counted, describe, digest, file_digest
from lcframework.storage.faults import not_read
from lcframework.storage.tables import RawExposure
from lcframework.types import Doubt, Exposure, LcfError, MasterPlan, NeedMissing, PluginError, UnusableInput
from lcframework.work.keys import MasterKey
from lcframework.work.reasons import alike, first_names
from lcframework.work.time_limit import within

if TYPE_CHECKING:
    from collections.abc import Callable

    from astropy.io import fits

log = logging.getLogger(__name__)

SKY = "light"
_CALIBRATION, _FRAME = "calibration", "frame"

InstrumentOf: TypeAlias = "Callable[[fits.Header, Path], str]"


@attrs.frozen
class MasterFile:
    """The file of a master frame; `reason` states why it could not be made."""

    key: MasterKey  # unit key
    kind: str
    path: str  # relative to the workdir
    text: str  # for messages
    reason: str = ""


@attrs.frozen
class MasterPayload:
    """The plan of a master frame, its exposures, and the masters that it needs."""

    instrument: str
    plan: MasterPlan
    members: tuple[tuple[Exposure, str], ...]  # with their paths
    path: str  # relative to the workdir
    needs: tuple[MasterFile, ...]


@attrs.frozen
class FramePlan:
    """The plan for the reduction of a frame: the masters, or the reason why it can't be reduced."""

    exposure: Exposure | None = None  # None: it is not reduced
    masters: tuple[MasterFile, ...] = ()
    components: Components = attrs.field(factory=dict)
    missing: str = ""
    doubts: tuple[Doubt, ...] = ()
    not_read: str = ""  # why the frame's header can't be read at present

    @property
    def set_aside(self) -> str:
        """Why the frame is excluded, where it is no frame of the sky; empty otherwise."""
        kind = self.exposure.kind if self.exposure else ""
        return "" if kind in ("", SKY) else f"{SET_ASIDE}{kind}"

    @property
    def parts(self) -> Components:
        """The components for the frame's fingerprint; empty where it is not reduced."""
        return {"reduction": self.components} if self.components else {}

    @property
    def text(self) -> str:
        """The masters, in words, for messages and the column ``calibration``."""
        return "; ".join(m.text for m in self.masters)


class Calibrations:
    """The calibration frames of a project, and the plans made with them; nothing is written before :meth:`record`.

    Parameters
    ----------
    session : Session
        On the database, which stores the values of headers that were read.
    toolbox : Toolbox
        The project's settings and tools.
    instrument_of : callable
        Returns the instrument of a frame from its header, for settings that differ by instrument.

    Raises
    ------
    LcfError
        Where a folder of ``[reduction] dirs`` is missing.
    """

    def __init__(self, session: Session, toolbox: Toolbox, instrument_of: InstrumentOf) -> None:
        self.toolbox, self._instrument_of = toolbox, instrument_of
        self._rows = {}
        for row in session.exec(select(RawExposure)).all():
            session.expunge(row)
            self._rows[row.role, row.instrument, row.path] = row
        self._session = session
        self._changed: dict[tuple[str, str, str], RawExposure] = {}
        self._dropped: set[tuple[str, str, str]] = set()
        self._frames_of = {r.path: r for r in self._rows.values() if r.role == _FRAME}
        self._reading = {k: v for k, v in describe(toolbox.config.frames).items() if k.startswith(("hdu", "trim"))}
        self._plans: dict[tuple[str, Exposure], tuple[MasterPlan, ...] | str] = {}
        self._undone: dict[tuple[str, Exposure], tuple[Doubt, ...]] = {}
        self.tools = {name: toolbox.tool("reduction", name) for name in ("", *toolbox.configs)}
        self._identities = {name: _identity(tool) for name, tool in self.tools.items()}
        readers = {"frames": self._reading, "header": toolbox.identity("header"), "reductions": self._identities}
        self._frame_reader = digest(counted(readers), 16)
        self._files = {
            name: calibration_files(toolbox.config_for(name)) for name, tool in self.tools.items() if tool is not None
        }
        for name, files in self._files.items():
            self._check_present(name, files)
        self._exposures = {name: self._calibrations(name) for name in self._files}
        self.masters: dict[MasterKey, tuple[MasterPayload, Components]] = {}

    def _check_present(self, instrument: str, files: dict[str, Path]) -> None:
        """Raise `NeedMissing` where calibration frames are known, and none of any is there."""
        before = sum((r.role, r.instrument) == (_CALIBRATION, instrument) for r in self._rows.values())
        if before and not files:
            dirs = ", ".join(self.toolbox.config_for(instrument).reduction.dirs)
            raise NeedMissing(
                f"[reduction] dirs: {before} calibration frames are known, and {dirs} hold none of them: mount the "
                "drive or put them back, and run again. Where frames are to be used without calibration from now on, "
                'set [reduction] plugin = "none"'
            )

    def _calibrations(self, instrument: str) -> dict[str, tuple[RawExposure, Exposure]]:
        """Return the calibration frames for one instrument's settings, by name."""
        out = {}
        parts = {"header": self.toolbox.identity("header"), "reduction": self._identities[instrument]}
        reader = digest(counted({"frames": self._reading, **parts}), 16)
        for name, path in self._files[instrument].items():
            try:
                row = self._calibration(instrument, name, path, reader)
            except OSError as error:
                raise NeedMissing(
                    f"the calibration frame {name} could not be read: {not_read(error) or error}. Without it frames "
                    "would be reduced by other masters: run again when it can be read, or remove the file"
                ) from None
            out[name] = (row, _exposure(row))
        of_instrument = [r for r in self._rows.values() if (r.role, r.instrument) == (_CALIBRATION, instrument)]
        self._drop(of_instrument, {row.path for row, _ in out.values()})
        return {name: pair for name, pair in out.items() if pair[1].kind not in ("", SKY)}

    def _calibration(self, instrument: str, name: str, path: Path, reader: str) -> RawExposure:
        """Return the row of a calibration frame; its header is read where the row is missing or out of date."""
        row = self._rows.get((_CALIBRATION, instrument, str(path)))
        stat = path.stat()
        same = row is not None and (row.size, row.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
        contents = row.digest if row is not None and same else file_digest(path)
        if contents == ABSENT:
            path.read_bytes()  # raises what the system says
            contents = file_digest(path)
        if row is None or (row.digest, row.reader, row.name) != (contents, reader, name):
            row = self._read(row or RawExposure(role=_CALIBRATION, instrument=instrument, path=str(path), name=name))
            row.name, row.digest, row.reader = name, contents, reader
        if not same:
            row.size, row.mtime_ns = stat.st_size, stat.st_mtime_ns
            self._changed[row.role, row.instrument, row.path] = row
        return row

    def _drop(self, rows: Iterable[RawExposure], kept: set[str]) -> None:
        """Mark the rows of files that do not exist any more for deletion."""
        self._dropped |= {(row.role, row.instrument, row.path) for row in rows if row.path not in kept}

    def record(self) -> None:
        """Write the values read from headers, and delete the rows of files that do not exist any more."""
        for primary_key in self._dropped - set(self._changed):
            if (row := self._session.get(RawExposure, primary_key)) is not None:
                self._session.delete(row)
        for row in self._changed.values():
            self._session.merge(row)
        self._session.flush()

    def _read(self, row: RawExposure) -> RawExposure:
        """Let the plugin describe a file; a file that can't be read gets no kind, and a comment with the reason."""
        path = Path(row.path)
        tool = self.tools[row.instrument]
        assert tool is not None
        try:
            header, shape = self._header(path, self._settings(row.instrument))
            found, comment = tool.ask("describe", header, path, shape), ""
            if not found.band:
                found = attrs.evolve(found, band=read_band(self.toolbox.all("header"), header, path))
        except UnusableInput as error:
            found, comment = Exposure(row.name), str(error)
            log.warning("%s takes no part in the reduction: %s", row.name, error)
        row.kind, row.band, row.comment = found.kind, found.band, comment
        row.setup = [list(pair) for pair in found.setup]
        row.exptime, row.temperature = found.exptime, found.temperature
        row.height, row.width = found.shape
        self._changed[row.role, row.instrument, row.path] = row
        return row

    def _header(self, path: Path, settings: Frames) -> tuple[fits.Header, tuple[int, int]]:
        """Read a header in the time that a file may take."""
        from lcframework.frames.raw_frames import read_raw_header

        with within(self.toolbox.config.run.seconds_per_file, self.toolbox.workdir, "header"):
            return read_raw_header(path, settings)

    def _settings(self, instrument: str) -> Frames:
        return self.toolbox.config_for(instrument).frames

    # ---------------------------------------------------------------- frames

    def frames(self, frames: Sequence[FoundFile]) -> list[FramePlan]:
        """Return the plan of each frame."""
        self._drop(self._frames_of.values(), {f.original_image_path for f in frames})
        return [self.frame(f) if takes_part(f) else FramePlan() for f in frames]

    def frame(self, frame: FoundFile) -> FramePlan:
        """Return the plan of a frame; without masters where it is a calibration frame itself."""
        try:
            row = self._frame_row(frame)
        except OSError as error:
            return FramePlan(not_read=not_read(error) or str(error))
        tool = self.tools[row.instrument]
        if tool is None:
            return FramePlan()
        exposure = _exposure(row)
        if row.comment:
            return FramePlan(exposure, (), {"missing": row.comment}, row.comment)
        if exposure.kind not in ("", SKY):
            return FramePlan(exposure)
        plans = self._plan(tool, row.instrument, exposure)
        if isinstance(plans, str):
            return FramePlan(exposure, (), {**self._identities[row.instrument], "missing": plans}, plans)
        files = tuple(self._master(row.instrument, plan) for plan in plans)
        doubts = self._doubts(tool, row.instrument, exposure)
        parts: Components = {
            name: found for plan in plans for name, found in self._contents(row.instrument, plan).items()
        }
        left_undone = {"doubts": [d.kind for d in doubts]} if doubts else {}
        components = {**self._identities[row.instrument], "masters": parts, **left_undone}
        return FramePlan(exposure, files, components, doubts=doubts)

    def _frame_row(self, frame: FoundFile) -> RawExposure:
        """Return the row of a frame in ``exposures``; its header is read where the row is missing or out of date."""
        row = self._frames_of.get(frame.original_image_path)
        if row is not None and (row.digest, row.reader) == (frame.raw_digest, self._frame_reader):
            return row
        if row is not None:
            self._dropped.add((row.role, row.instrument, row.path))
        path = Path(frame.original_image_path)
        instrument = self._instrument(path)
        new = RawExposure(role=_FRAME, instrument=instrument, path=str(path), name=path.name)
        new.digest, new.reader = frame.raw_digest, self._frame_reader
        self._frames_of[str(path)] = new
        if self.tools[instrument] is None:
            self._changed[new.role, new.instrument, new.path] = new
            return new
        return self._read(new)

    def _instrument(self, path: Path) -> str:
        """Return the instrument whose overrides apply to a frame, or '' where there are none."""
        if len(self.tools) == 1:
            return ""
        try:
            name = self._instrument_of(self._header(path, self.toolbox.config.frames)[0], path)
        except LcfError:
            return ""  # the import will report what is wrong with the frame
        return name if name in self.tools else ""

    def _plan(self, tool: Tool, instrument: str, exposure: Exposure) -> tuple[MasterPlan, ...] | str:
        key = (instrument, attrs.evolve(exposure, name=""))
        if key not in self._plans:
            available = [e for _, e in self._exposures[instrument].values()]
            try:
                self._plans[key] = tool.ask("plan", exposure, available)
            except UnusableInput as error:
                self._plans[key] = str(error)
        return self._plans[key]

    def _doubts(self, tool: Tool, instrument: str, exposure: Exposure) -> tuple[Doubt, ...]:
        key = (instrument, attrs.evolve(exposure, name=""))
        if key not in self._undone:
            available = [e for _, e in self._exposures[instrument].values()]
            can_say = isinstance(tool.instance, DoubtsReduction)
            self._undone[key] = tuple(tool.ask("doubts", exposure, available)) if can_say else ()
        return self._undone[key]

    # ---------------------------------------------------------------- masters

    def _contents(self, instrument: str, plan: MasterPlan) -> dict[str, dict[str, str]]:
        """Return the digests of the files from which a master, and the masters that it needs, are made."""
        own = {name: self._exposures[instrument][name][0].digest[:12] for name in plan.members}
        out = {plan.name: own}
        for need in plan.needs:
            out |= self._contents(instrument, need)
        return out

    def _master(self, instrument: str, plan: MasterPlan) -> MasterFile:
        """Add a master to those that are needed, and return its file.

        The path depends on the inputs: where a new master can't be made, no frame is reduced with an old one.
        """
        key = MasterKey(f"{instrument}:{plan.name}" if instrument else plan.name)
        unknown = set(plan.members) - set(self._exposures[instrument])
        if unknown or not plan.members:
            raise PluginError(f"[reduction]: {plan.name} is to be made of what is not there: {sorted(unknown)}")
        if key not in self.masters:
            needs = tuple(self._master(instrument, need) for need in plan.needs)
            pairs = [self._exposures[instrument][name] for name in plan.members]
            parts = {**self._identities[instrument], **self._reading, "files": self._contents(instrument, plan)}
            path = f"frames/master_{digest([str(key), counted(parts)], 12)}.fits"
            payload = MasterPayload(instrument, plan, tuple((e, r.path) for r, e in pairs), path, needs)
            self.masters[key] = (payload, parts)
        elif self.masters[key][0].plan != plan:
            raise PluginError(f'[reduction]: two different master frames are called "{plan.name}"')
        n = len(plan.members)
        text = f"{plan.name} ({n} file{'s' if n > 1 else ''})"
        return MasterFile(key, plan.kind, self.masters[key][0].path, text)


def calibration_files(config: Config) -> dict[str, Path]:
    """Return the files of the folders of ``[reduction] dirs``, by the name that is recorded in ``exposures``.

    Raises
    ------
    LcfError
        Where a folder is missing.
    """
    found: dict[str, Path] = {}
    seen: set[Path] = set()
    for name in config.reduction.dirs:
        folder = resolve_path(name, config.directory)
        if not folder.is_dir():
            raise LcfError(f'[reduction] dirs: "{name}" is not a folder; looked for {folder}')
        for path in sorted(p for p in folder.glob(config.reduction.pattern) if p.is_file()):
            if path not in seen and admitted(path):
                seen.add(path)
                found[f"{name}/{path.relative_to(folder).as_posix()}"] = path
    return found


def _identity(tool: Tool | None) -> Components:
    return {} if tool is None else {"plugin": tool.name, tool.name: tool.identity()}


def _exposure(row: RawExposure) -> Exposure:
    matched = tuple((keyword, value) for keyword, value in row.setup)
    return Exposure(row.name, row.kind, matched, row.band, row.exptime, row.temperature, (row.height, row.width))


def unused(session: Session) -> list[str]:
    """Return a remark for each reason why files of the calibration folders are not used."""
    rows = session.exec(select(RawExposure).where(RawExposure.role == _CALIBRATION)).all()
    by_reason: dict[str, list[RawExposure]] = {}
    for row in sorted((r for r in rows if r.comment), key=lambda r: r.name):
        by_reason.setdefault(alike(row.comment, Path(row.path).name), []).append(row)
    out = []
    for same in by_reason.values():
        who = first_names([r.name for r in same])
        if len(same) > 1:
            out.append(f"{len(same)} files take no part in the reduction ({who}); of the first: {same[0].comment}")
        else:
            out.append(f"{who} takes no part in the reduction: {same[0].comment}")
    strange = [r.name for r in rows if not r.comment and r.kind in ("", SKY)]
    if strange:
        names = first_names(sorted(strange))
        out.append(f"{len(strange)} files of [reduction] dirs are no calibration frames by their headers: {names}")
    return sorted(out)
