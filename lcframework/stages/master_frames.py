"""Master frames of the import stage: their units, how they are made, and where they lie."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import sqlalchemy as sa
from astropy.io import fits
from sqlmodel import Session

from lcframework.config.tools import Setup
from lcframework.frames.frame_list import excluded, set_aside
from lcframework.frames.raw_frames import read_raw
from lcframework.frames.reduction import Calibrations, FramePlan, InstrumentOf, MasterFile, MasterPayload
from lcframework.stages.base import Ledger, Outcome, Stage, Unit
from lcframework.storage.files import ascii_text, atomic
from lcframework.storage.tables import Frame, Product
from lcframework.types import Exposure, Floats, Master, NeedMissing, UnusableInput

#: A stack of images that is larger lies in a file that the system pages in and out, not in memory.
MAX_IN_MEMORY = 1 << 30  # bytes
_PREFIX = "master:"


@attrs.frozen(eq=False)
class MasterValues:
    """What a master frame is made from."""

    payload: MasterPayload
    exposures: tuple[Exposure, ...]
    images: Floats  # (n, ny, nx)
    masters: Mapping[str, Master]


def plan_reductions(
    stage: Stage, session: Session, frames: Sequence[Frame], ledger: Ledger, instrument_of: InstrumentOf
) -> tuple[dict[int | None, FramePlan], list[Unit]]:
    """Return by id how each frame that takes part is to be reduced, and the units of the master frames that takes."""
    setup = stage.setup
    used = any(setup.tool("reduction", name) for name in ("", *setup.configs))
    found = Calibrations(session, setup, instrument_of) if used else None
    plans: dict[int | None, FramePlan] = {}
    for frame, plan in zip(frames, found.frames(frames) if found else [FramePlan()] * len(frames), strict=True):
        if not excluded(frame):
            set_aside(session, frame, plan.set_aside)
            if not plan.set_aside:
                plans[frame.id] = plan
    masters = found.masters if found else {}
    units = {k: Unit(k, p.plan.name, stage.components(**parts), p) for k, (p, parts) in masters.items()}
    products = ledger.of_stage(stage.name)
    _forget_old(session, stage, [k for k in products if k.startswith(_PREFIX) and k not in units])
    failed = {
        k: products[k].reason
        for k, u in units.items()
        if k in products and products[k].state == "unusable" and products[k].fingerprint == u.fingerprint
    }
    if failed:
        plans = {i: attrs.evolve(p, masters=_with_reasons(p.masters, failed)) for i, p in plans.items()}
        units = {k: attrs.evolve(u, payload=attrs.evolve(u.payload, needs=_with_reasons(u.payload.needs, failed)))
                 for k, u in units.items()}  # fmt: skip
    return plans, list(units.values())


def _with_reasons(files: Sequence[MasterFile], reasons: Mapping[str, str]) -> tuple[MasterFile, ...]:
    return tuple(attrs.evolve(f, reason=reasons.get(f.key, "")) for f in files)


def _forget_old(session: Session, stage: Stage, keys: list[str]) -> None:
    if keys:
        session.execute(sa.delete(Product).where(sa.column("stage") == stage.name, sa.column("unit").in_(keys)))


def ready_masters(units: Sequence[Unit]) -> list[Unit]:
    """Return the masters among the units that wait for no other."""
    masters = [u for u in units if isinstance(u.payload, MasterPayload)]
    open_keys = {u.key for u in masters}
    return [u for u in masters if not any(need.key in open_keys for need in u.payload.needs)]


def load_master(setup: Setup, payload: MasterPayload) -> MasterValues:
    """Read a master's files, and the masters that it needs."""
    masters = _read(setup.workdir, payload.needs)
    settings = setup.config_for(payload.instrument).frames
    images: Any = None
    for i, (exposure, path) in enumerate(payload.members):
        image = read_raw(Path(path), settings).image
        if images is None:
            images = _stack((len(payload.members), *image.shape), setup.workdir)
        if image.shape != images.shape[1:]:
            raise UnusableInput(f"{exposure.name} is {image.shape}, others of its kind {images.shape[1:]} (ny, nx)")
        images[i] = image
    return MasterValues(payload, tuple(e for e, _ in payload.members), images, masters)


def _stack(shape: tuple[int, ...], folder: Path) -> Floats:
    if 4 * int(np.prod(shape)) <= MAX_IN_MEMORY:
        return np.empty(shape, np.float32)
    with tempfile.TemporaryFile(dir=folder) as file:  # it has no name, and is gone with the array
        return np.memmap(file, np.float32, "w+", shape=shape)


def make_master(setup: Setup, values: MasterValues) -> Master:
    """Combine a master frame."""
    tool = setup.tool("reduction", values.payload.instrument)
    if tool is None:
        raise NeedMissing(f'[reduction] plugin = "none", but {values.payload.plan.name} is wanted')
    made: Master = tool.instance.combine(values.payload.plan, values.exposures, values.images, values.masters)
    return made


def save_master(workdir: Path, payload: MasterPayload, master: Master) -> Outcome:
    """Write a master frame."""
    image = fits.PrimaryHDU(np.asarray(master.image, np.float32))
    image.header["MASTER"], image.header["KIND"] = ascii_text(payload.plan.name), ascii_text(master.kind)
    if master.exptime is not None:
        image.header["EXPTIME"] = (float(master.exptime), "[s]")
    image.header["NCOMBINE"] = len(master.used)
    if np.isfinite(master.noise):
        image.header["NOISE"] = (float(master.noise), "one sigma of a pixel")
    for name in master.used:
        image.header["HISTORY"] = ascii_text(name)
    bad = fits.ImageHDU(np.asarray(master.bad, np.uint8), name="BAD")
    with atomic(workdir / payload.path) as temporary:
        fits.HDUList([image, bad]).writeto(temporary)
    left_out = len(payload.members) - len(master.used)
    summary = f"{len(master.used)} files" + (f", {left_out} left out" if left_out else "")
    summary += f", noise {master.noise:.2g} a pixel" if np.isfinite(master.noise) else ""
    return Outcome(path=payload.path, summary=summary)


def read_masters(workdir: Path, plan: FramePlan) -> dict[str, Master]:
    """Read the masters that a frame is reduced with, by kind.

    Raises
    ------
    UnusableInput
        Where the frame can't be reduced, or one of them could not be made.
    NeedMissing
        Where one of them is not there.
    """
    if plan.missing:
        raise UnusableInput(plan.missing)
    return _read(workdir, plan.masters)


def _read(workdir: Path, files: Sequence[MasterFile]) -> dict[str, Master]:
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
            raise NeedMissing(
                f"{file.text} is needed, and {workdir / file.path} can't be read ({error}); make it again with "
                "`lcf run --force read_convert_skysub_character_catalog`"
            ) from None
        out[file.kind] = Master(file.kind, image, bad, header.get("EXPTIME"))
    return out


def remove_old_masters(session: Session, workdir: Path) -> None:
    """Delete the files of masters that no product is."""
    kept = set(session.execute(sa.select(Product.path)).scalars())  # type: ignore[call-overload]
    for path in (workdir / "frames").glob("master_*.fits"):
        if os.path.relpath(path, workdir) not in kept:
            path.unlink(missing_ok=True)
