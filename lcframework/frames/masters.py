"""Master frames: which are needed, how they are made, and their files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, col

from lcframework.frames.exclusions import takes_part
from lcframework.frames.frame_list import FrameList
from lcframework.frames.reduction import Calibrations, FramePlan, InstrumentOf, MasterFile, MasterPayload
from lcframework.storage.faults import not_read
from lcframework.storage.files import atomic
from lcframework.storage.frame_files import ascii_text
from lcframework.storage.tables import Product
from lcframework.types import DamagedProduct, Exposure, Floats, Master, NeedMissing, UnusableInput
from lcframework.work import Entry, Ledger, MasterKey, Outcome, ProductState, Stage, Task, Unit

#: A larger stack of images is a memory-mapped file, so that it does not need to fit in memory.
MAX_IN_MEMORY = 1 << 30  # bytes


@attrs.frozen(eq=False)
class MasterValues:
    """The images from which a master frame is made, and the masters that it needs."""

    payload: MasterPayload
    exposures: tuple[Exposure, ...]
    images: Floats  # (n, ny, nx)
    masters: Mapping[str, Master]


@attrs.frozen(eq=False)
class Reductions:
    """The plans for the reduction of all frames, and the units of the master frames that are needed."""

    plans: Mapping[int | None, FramePlan]  # by frame id, without excluded frames
    units: Sequence[Unit[MasterPayload]]
    calibrations: Calibrations | None


def plan_reductions(
    stage: Stage, session: Session, frame_list: FrameList, ledger: Ledger, instrument_of: InstrumentOf
) -> Reductions:
    """Plan the reduction of each frame, and exclude frames of the list that are calibration frames themselves."""
    toolbox, frames = stage.toolbox, frame_list.frames
    used = any(toolbox.tool("reduction", name) for name in ("", *toolbox.configs))
    calibrations = Calibrations(session, toolbox, instrument_of) if used else None
    plans: dict[int | None, FramePlan] = {}
    planned = calibrations.frames(frames) if calibrations else [FramePlan()] * len(frames)
    for frame, plan in zip(frames, planned, strict=True):
        if takes_part(frame):
            frame_list.set_aside(frame, plan.set_aside)
            if not plan.set_aside:
                plans[frame.id] = plan
    masters = calibrations.masters if calibrations else {}
    units = {key: Unit(key, p.plan.name, stage.components(**parts), p) for key, (p, parts) in masters.items()}
    tried = {key: p for key, u in units.items() if (p := ledger.product(stage.name, key)) and p.made_from(u)}
    return Reductions(
        {i: attrs.evolve(p, masters=_as_tried(p.masters, tried)) for i, p in plans.items()},
        [attrs.evolve(u, payload=_needing(u.payload, tried)) for u in units.values()],
        calibrations,
    )


def _needing(payload: MasterPayload, tried: Mapping[MasterKey, Entry]) -> MasterPayload:
    return attrs.evolve(payload, needs=_as_tried(payload.needs, tried))


def _as_tried(files: Sequence[MasterFile], tried: Mapping[MasterKey, Entry]) -> tuple[MasterFile, ...]:
    """Return the files of masters with their present paths, or with the reason why a master could not be made."""
    out = []
    for file in files:
        product = tried.get(file.key)
        if product is not None and product.state == ProductState.UNUSABLE:
            file = attrs.evolve(file, reason=product.reason)
        elif product is not None and product.path:
            file = attrs.evolve(file, path=product.path)
        out.append(file)
    return tuple(out)


def forget_old_masters(session: Session, stage: str, ledger: Ledger, reductions: Reductions) -> None:
    """Delete products of masters that no frame needs any more; the files are deleted at the end of the stage."""
    wanted = {unit.key for unit in reductions.units}
    old = [str(key) for key in ledger.keyed(stage, MasterKey) if key not in wanted]
    if old:
        session.execute(sa.delete(Product).where(col(Product.stage) == stage, col(Product.unit).in_(old)))


def ready_masters(units: Sequence[Unit[Any]]) -> list[Unit[MasterPayload]]:
    """Return the masters among pending units that depend on no other pending master."""
    masters = [u for u in units if isinstance(u.key, MasterKey)]
    pending = {u.key for u in masters}
    return [u for u in masters if not any(need.key in pending for need in u.payload.needs)]


class CombineMaster(Task[MasterPayload, MasterValues, Master]):
    """Makes a master frame."""

    def files(self, unit: Unit[MasterPayload]) -> int:
        """Return the number of its raw files."""
        return len(unit.payload.members)

    def load(self, unit: Unit[MasterPayload]) -> MasterValues:
        """Read a master's files, and the masters that it needs."""
        from lcframework.frames.raw_frames import read_raw

        payload = unit.payload
        masters = _read(self.toolbox.workdir, payload.needs)
        settings = self.toolbox.config_for(payload.instrument).frames
        images: Any = None
        for i, (exposure, path) in enumerate(payload.members):
            image = read_raw(Path(path), settings).image
            if images is None:
                images = _stack((len(payload.members), *image.shape), self.toolbox.workdir)
            if image.shape != images.shape[1:]:
                raise UnusableInput(f"{exposure.name} is {image.shape}, others of its kind {images.shape[1:]} (ny, nx)")
            images[i] = image
        return MasterValues(payload, tuple(e for e, _ in payload.members), images, masters)

    def compute(self, values: MasterValues) -> Master:
        """Combine the images."""
        tool = self.toolbox.tool("reduction", values.payload.instrument)
        if tool is None:
            raise NeedMissing(f'[reduction] plugin = "none", but {values.payload.plan.name} is wanted')
        made: Master = tool.ask("combine", values.payload.plan, values.exposures, values.images, values.masters)
        return made

    def save(self, unit: Unit[MasterPayload], values: MasterValues, result: Master) -> Outcome:
        """Write the master frame."""
        payload = unit.payload
        write_master(self.toolbox.workdir / payload.path, payload.plan.name, result)
        left_out = len(payload.members) - len(result.used)
        summary = f"{len(result.used)} files" + (f", {left_out} left out" if left_out else "")
        summary += f", noise {result.noise:.2g} a pixel" if np.isfinite(result.noise) else ""
        return Outcome(path=payload.path, summary=summary)


def _stack(shape: tuple[int, ...], folder: Path) -> Floats:
    if 4 * int(np.prod(shape)) <= MAX_IN_MEMORY:
        return np.empty(shape, np.float32)
    with tempfile.TemporaryFile(dir=folder) as file:  # it has no name, and is deleted with the array
        if hasattr(os, "posix_fallocate"):  # to write where the disk is full would end the process
            os.posix_fallocate(file.fileno(), 0, 4 * int(np.prod(shape)))
        return np.memmap(file, np.float32, "w+", shape=shape)


def write_master(path: Path, name: str, master: Master) -> None:
    """Write a master frame."""
    from astropy.io import fits

    image = fits.PrimaryHDU(np.asarray(master.image, np.float32))
    image.header["MASTER"], image.header["KIND"] = ascii_text(name), ascii_text(master.kind)
    if master.exptime is not None:
        image.header["EXPTIME"] = (float(master.exptime), "[s]")
    image.header["NCOMBINE"] = len(master.used)
    if np.isfinite(master.noise):
        image.header["NOISE"] = (float(master.noise), "one sigma of a pixel")
    for member in master.used:
        image.header["HISTORY"] = ascii_text(member)
    bad = fits.ImageHDU(np.asarray(master.bad, np.uint8), name="BAD")
    with atomic(path) as temporary:
        fits.HDUList([image, bad]).writeto(temporary)


def read_masters(workdir: Path, plan: FramePlan) -> dict[str, Master]:
    """Read the masters that a frame is reduced with, by kind.

    Raises
    ------
    UnusableInput
        Where the frame can't be reduced, or one of them could not be made.
    NeedMissing
        Where the file of a master is missing.
    DamagedProduct
        Where it is garbled.
    """
    if plan.missing:
        raise UnusableInput(plan.missing)
    return _read(workdir, plan.masters)


def _read(workdir: Path, files: Sequence[MasterFile]) -> dict[str, Master]:
    from astropy.io import fits

    out = {}
    for file in files:
        if file.reason:
            raise UnusableInput(f"it needs {file.text}, which can't be made: {file.reason}")
        try:
            with fits.open(workdir / file.path, memmap=False) as hdus:
                header = hdus[0].header
                image, bad = np.asarray(hdus[0].data, np.float32), np.asarray(hdus["BAD"].data) != 0
        except FileNotFoundError:
            raise NeedMissing(
                f"{file.text} is needed, and {workdir / file.path} is not there. Where making it failed, see that "
                "failure, in the log too; where the file was deleted, "
                "`lcf run --force read_convert_skysub_character_catalog` makes it again"
            ) from None
        except (OSError, KeyError, TypeError, ValueError) as error:
            if not_read(error):
                raise
            raise DamagedProduct(workdir / file.path, f"it can't be read: {error}") from None
        noise = float(header.get("NOISE", np.nan))
        out[file.kind] = Master(file.kind, image, bad, header.get("EXPTIME"), noise=noise)
    return out


def remove_old_masters(session: Session, workdir: Path) -> None:
    """Delete the files of masters that belong to no product."""
    kept = set(session.execute(sa.select(Product.path)).scalars())  # type: ignore[call-overload]
    for path in (workdir / "frames").glob("master_*.fits"):
        if os.path.relpath(path, workdir) not in kept:
            path.unlink(missing_ok=True)
