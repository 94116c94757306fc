"""The import of a frame into whose raw counts sources are drawn before it is reduced."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from lcframework.frames.header_gains import with_gain
from lcframework.frames.header_parsing import parse_header
from lcframework.frames.pixels import to_rate
from lcframework.frames.stamping import any_near
from lcframework.frames.stored_numbers import Storage
from lcframework.injections.star_light import FramePixels, HeldOutStars, StarLight, lights_of, star_light
from lcframework.roi.injected import FOLDER
from lcframework.sky.geometry import sky_to_pixel
from lcframework.stages.read_convert_skysub_character_catalog import Imported, ImportFrame, RawPayload, RawValues
from lcframework.storage.files import atomic
from lcframework.storage.frame_files import read_frame, read_table, read_wcs
from lcframework.storage.records import Record, Update
from lcframework.types import Bools, Floats, HeaderInfo, UnusableInput
from lcframework.types.json_values import finite_or_none
from lcframework.work import Outcome, Task, Unit

#: Sources are drawn out to this many FWHM.
REACH = 6.0
#: What a reduction makes of added counts may differ from its share of them by this much of the peak.
_LINEAR = 1e-3
#: Columns of `frames` that the import resets, and that hold here: the WCS is reused.
_KEPT = ("plate_solved", "roi_in_footprint", "comment")


@attrs.frozen(eq=False)
class Drawing:
    """What is drawn in a frame, and what tells how.

    Attributes
    ----------
    seed : int
        Of the noise.
    image, sources, wcs : str
        The project's own files of the frame, full paths; `image` is empty where it is not kept.
    rms, exptime, fwhm, saturation : float
        Its sky's noise (e-/s), exposure time (s), seeing (pixels) and saturation (raw unit; inf: unknown).
    stars : HeldOutStars
        In this frame.
    ra, dec, flux : (m,) arrays
        Of the sources, degrees, and e-/s as in the light curve.
    """

    seed: int
    image: str
    sources: str
    wcs: str
    rms: float
    exptime: float
    fwhm: float
    saturation: float
    stars: HeldOutStars
    ra: Floats
    dec: Floats
    flux: Floats


@attrs.frozen
class DrawingPayload:
    """A raw file to import, and what is drawn in it."""

    raw: RawPayload
    drawing: Drawing = attrs.field(eq=False)


@attrs.frozen(eq=False)
class DrawingValues:
    """A raw frame, what is drawn in it, its WCS, and the frame as it was imported where that is kept."""

    raw: RawValues
    drawing: Drawing
    wcs: Any
    before: FramePixels | None


@attrs.frozen(eq=False)
class DrawnFrame:
    """An imported frame with drawn sources: what the stars said of it, and which sources reach saturation."""

    imported: Imported
    light: StarLight
    error: Floats  # (m,) relative, of the transparency where the sources are
    saturated: Bools  # (m,)


def truth_path(key: str) -> str:
    """Return where the truth of a frame is kept, relative to the scratch workdir."""
    return f"{FOLDER}/{key}.json"


class ImportDrawn(Task[DrawingPayload, DrawingValues, DrawnFrame]):
    """Imports a raw file with sources drawn in it."""

    def files(self, unit: Unit[DrawingPayload]) -> int:
        """Return 1: the raw file."""
        return 1

    def load(self, unit: Unit[DrawingPayload]) -> DrawingValues:
        """Read the raw file, the masters, the WCS, and the frame as it was imported."""
        d = unit.payload.drawing
        before = None
        if d.image:
            image, flags, _ = read_frame(Path(d.image))
            before = _pixels(image, flags, read_table(Path(d.sources)), d)
        raw = self._importing.load(_plain(unit))
        return DrawingValues(raw, d, read_wcs(Path(d.wcs)), before)

    def compute(self, values: DrawingValues) -> DrawnFrame:
        """Draw the sources in the raw counts, and import what comes of it."""
        d, raw = values.drawing, values.raw
        before = values.before
        if before is None:
            plain = self._importing.compute(raw)
            before = _pixels(plain.image, plain.mask, plain.sources, d)
        light = star_light(before, d.stars)
        places = light.places(*sky_to_pixel(values.wcs, d.ra, d.dec))
        info = self._info(raw)
        share, error = light.share(*places.T)
        expected = _electrons(light, places, d.flux * share * d.exptime, raw.raw.image.shape)
        counts, saturated = self._counts(raw, info, expected, places, d)
        drawn = attrs.evolve(raw, raw=attrs.evolve(raw.raw, image=counts))
        return DrawnFrame(self._importing.compute(drawn), light, error, saturated)

    @property
    def _importing(self) -> ImportFrame:
        return ImportFrame(self.stage, self.toolbox)

    def _info(self, raw: RawValues) -> HeaderInfo:
        info = parse_header(self.toolbox.all("header"), raw.raw.header, raw.path)
        return with_gain(info, self.toolbox.config_for(info.instrument).header.gain)

    def _counts(
        self, raw: RawValues, info: HeaderInfo, expected: Floats, places: Floats, d: Drawing
    ) -> tuple[Floats, Bools]:
        """Return the raw image with the sources, with the noise of their photons, and which sources saturate."""
        image, lit = raw.raw.image, expected > 0
        share = self._share(raw, info, lit)
        unit = float(to_rate(np.ones(1, np.float32), info)[0]) * info.exptime  # e- in a raw unit
        rng = np.random.default_rng([d.seed, zlib.crc32(raw.path.name.encode())])
        added = np.zeros(image.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            electrons = np.where(lit & (share > 0), expected / share, 0.0)
        added[lit] = rng.poisson(electrons[lit]) / unit
        self._check_linear(raw, info, added, share)
        out = _stored(image + added, raw.raw.storage)
        top = min(d.saturation, raw.raw.storage.top)
        with np.errstate(invalid="ignore"):
            full = lit & (out > top)
            out = np.where(full, np.maximum(image, top), np.where(lit, out, image)).astype(np.float32)
        cores = [np.isfinite([x, y]).all() and any_near(full, x, y, d.fwhm) for x, y in places]
        return out, np.array(cores, bool)

    def _share(self, raw: RawValues, info: HeaderInfo, lit: Bools) -> Floats:
        """Return what the reduction makes of one raw unit in lit pixels: 1 over the flat, 1 without a reduction."""
        if not self._reduces(raw, info):
            return np.ones(raw.raw.image.shape)
        more = 1000.0
        with np.errstate(invalid="ignore"):
            return (self._reduced(raw, info, np.where(lit, more, 0)) - self._reduced(raw, info, 0.0)) / more

    def _check_linear(self, raw: RawValues, info: HeaderInfo, added: Floats, share: Floats) -> None:
        if not self._reduces(raw, info) or not (added > 0).any():
            return
        with np.errstate(invalid="ignore"):
            came = self._reduced(raw, info, added) - self._reduced(raw, info, 0.0)
            off = np.abs(came - np.where(added > 0, added * share, 0))
        peak, floor = float(added.max()), float(np.nanmax(np.abs(raw.raw.image))) * 1e-6
        if not float(np.nanmax(off)) <= _LINEAR * peak + floor:
            tool = self.toolbox.tool("reduction", info.instrument)
            raise UnusableInput(
                f'[reduction] plugin = "{tool.name if tool else "?"}" does not answer to added counts in proportion, '
                "so nothing can be drawn in raw frames that it reduces"
            )

    def _reduces(self, raw: RawValues, info: HeaderInfo) -> bool:
        there = self.toolbox.tool("reduction", info.instrument) is not None
        return raw.exposure is not None and there and bool(raw.masters)

    def _reduced(self, raw: RawValues, info: HeaderInfo, added: Any) -> Floats:
        tool = self.toolbox.tool("reduction", info.instrument)
        assert tool is not None
        image, _ = tool.ask("reduce", (raw.raw.image + added).astype(np.float32), raw.exposure, raw.masters)
        return np.asarray(image, float)

    def save(self, unit: Unit[DrawingPayload], values: DrawingValues, result: DrawnFrame) -> Outcome:
        """Write the frame, its sources and its truth."""
        outcome = self._importing.save(_plain(unit), values.raw, result.imported)
        path = self.toolbox.workdir / truth_path(unit.payload.raw.key)
        light = result.light
        truth = {
            "transparency": light.transparency.plane.tolist(), "stars": light.transparency.stars,
            "error": list(map(finite_or_none, result.error)), "saturated": result.saturated.tolist(),
            "psf_stars": light.psf.stars, "fwhm": light.psf.fwhm, "ratios": dict(light.ratios),
        }  # fmt: skip
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(truth))
        records: list[Record] = [
            attrs.evolve(r, values={k: v for k, v in r.values.items() if k not in _KEPT})
            if isinstance(r, Update)
            else r
            for r in outcome.records
        ]
        return Outcome(tuple(records), outcome.path, summary=outcome.summary, doubts=outcome.doubts)

    def unusable_records(self, unit: Unit[DrawingPayload], reason: str) -> tuple[Record, ...]:
        """Record that nothing was drawn in the frame, and why."""
        return self._importing.unusable_records(_plain(unit), reason)


def _plain(unit: Unit[DrawingPayload]) -> Unit[RawPayload]:
    """Return the unit of the import without anything drawn."""
    return Unit(unit.key, unit.label, unit.components, unit.payload.raw, unit.frame_id, unit.scope)


def _pixels(image: Floats, flags: Any, sources: Any, d: Drawing) -> FramePixels:
    return FramePixels(image, flags, *lights_of(sources), d.rms, d.exptime, d.fwhm)


def _electrons(light: StarLight, places: Floats, electrons: Floats, shape: tuple[int, ...]) -> Floats:
    """Return the expected electrons (ny, nx) of sources at places (m, 2) with so many each."""
    out = np.zeros(shape)
    half = int(np.ceil(REACH * light.psf.fwhm))
    for (x, y), n in zip(places, electrons, strict=True):
        if not np.isfinite([x, y]).all():
            continue
        i, j = round(float(x)), round(float(y))
        rows = np.arange(max(j - half, 0), min(j + half + 1, shape[0]))
        columns = np.arange(max(i - half, 0), min(i + half + 1, shape[1]))
        if len(rows) and len(columns):
            grid = np.meshgrid(columns.astype(float), rows.astype(float))
            out[np.ix_(rows, columns)] += n * np.maximum(light.psf.at(float(x), float(y), grid[0], grid[1]), 0)
    return out


def _stored(image: Floats, storage: Storage) -> Floats:
    """Return values as the file's numbers can hold them: whole ones of integers."""
    if storage.bits < 0:
        return np.asarray(image, np.float32)
    return np.asarray(np.rint((image - storage.zero) / storage.scale) * storage.scale + storage.zero, np.float32)
