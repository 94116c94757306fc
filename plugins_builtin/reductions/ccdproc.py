"""Bias, dark and flat by ccdproc: master frames matched to frames by their headers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import not_negative, one_of, ordered, positive, some_of
from lcframework.types import (
    Doubt,
    Exposure,
    Floats,
    Ints,
    Master,
    MasterPlan,
    NeedMissing,
    PixelFlag,
    UnusableInput,
    is_section,
)
from plugins_builtin.engine.frames.overscan import Overscan, find_overscan
from plugins_builtin.shared.calibration_matching import BIAS, DARK, FLAT
from plugins_builtin.shared.calibration_plan import AUTO, KINDS, Planner
from plugins_builtin.shared.frame_kinds import kind_of_frame
from plugins_builtin.shared.header_sections import header_overscan
from plugins_builtin.shared.header_values import as_number, first_text, text_of, value_of

if TYPE_CHECKING:
    from astropy.io import fits

#: The name in `Exposure.setup` of the overscan that was found in the header.
OVERSCAN = "overscan"
#: Rows are combined so many values at a time.
_STRIP = 1 << 23


def _use_validator(instance: Any, attribute: Any, value: str | list[str]) -> None:
    if isinstance(value, str) and value != AUTO:
        raise ValueError(f'{attribute.name} must be "auto", or a list of {", ".join(KINDS)}, got {value!r}')
    if not isinstance(value, str):
        some_of(*KINDS)(instance, attribute, value)


@attrs.frozen
class Ccdproc:
    """Subtracts bias and dark, and divides by the flat."""

    results_version: ClassVar[int] = 4

    use: str | list[str] = attrs.field(default=AUTO, validator=_use_validator)  # "auto": the kinds that there are
    missing: str = attrs.field(default="refuse", validator=one_of("refuse", "skip"))  # frames without a match
    kind_keywords: list[str] = attrs.field(
        factory=lambda: ["IMAGETYP", "OBSTYPE", "IMAGETYPE", "EXPTYPE", "ESO DPR TYPE", "FRAME"]
    )
    bias: list[str] = attrs.field(factory=lambda: ["bias", "zero"])  # parts of the keyword's value
    dark: list[str] = attrs.field(factory=lambda: ["dark"])
    flat: list[str] = attrs.field(factory=lambda: ["flat"])
    match: list[str] = attrs.field(factory=lambda: ["INSTRUME", "XBINNING", "YBINNING"])
    band_keywords: list[str] = attrs.field(factory=list)  # none: the filter is what the header parser reads
    exptime_keywords: list[str] = attrs.field(factory=lambda: ["EXPTIME", "EXPOSURE"])
    temperature_keyword: str = "CCD-TEMP"  # "": not looked at
    temperature_tolerance: float = attrs.field(default=2.0, validator=not_negative)  # degrees C
    combine_by: str = attrs.field(default="clipped", validator=one_of("clipped", "median"))
    clip: float = attrs.field(default=5.0, validator=positive)  # sigma
    flat_levels: tuple[float, float] = attrs.field(default=(0.0, np.inf), validator=ordered)  # raw unit
    least_sensitivity: float = attrs.field(default=0.25, validator=positive)  # relative
    greatest_dark: float = attrs.field(default=np.inf, validator=positive)  # raw unit / s
    overscan: str = AUTO  # a section, or the keyword that holds it; "auto": the header's; "": none is subtracted
    overscan_order: int = attrs.field(default=1, validator=not_negative)  # of the polynomial along it

    # ---------------------------------------------------------------- headers

    def describe(self, header: fits.Header, path: Path, shape: tuple[int, int]) -> Exposure:
        """Return what kind of frame a raw file is and how it was taken, by its header."""
        words = {BIAS: self.bias, DARK: self.dark, FLAT: self.flat}
        bands = [text for text in (_setting(header, k) for k in self.band_keywords) if text]
        return Exposure(
            name=path.name,
            kind=kind_of_frame(header, self.kind_keywords, words),
            setup=(
                *((name, _setting(header, name)) for name in dict.fromkeys([*self.match, *self._overscan_keyword])),
                *self._found_overscan(header, shape),
            ),
            band="+".join(bands),
            exptime=as_number(first_text(header, self.exptime_keywords)),
            temperature=as_number(text_of(header, self.temperature_keyword)) if self.temperature_keyword else None,
            shape=shape,
        )

    def plan(self, frame: Exposure, calibrations: Sequence[Exposure]) -> tuple[MasterPlan, ...]:
        """Return the masters for a frame.

        Raises
        ------
        UnusableInput
            Where none matches and `missing` is ``"refuse"``, saying what there is.
        """
        return self._planner(frame, calibrations).masters()

    def doubts(self, frame: Exposure, calibrations: Sequence[Exposure]) -> tuple[Doubt, ...]:
        """Return what is not done to a frame for want of calibration frames, where these decide."""
        return self._planner(frame, calibrations).doubts()

    def _planner(self, frame: Exposure, calibrations: Sequence[Exposure]) -> Planner:
        overscan = bool(self.overscan) and (self.overscan != AUTO or bool(dict(frame.setup).get(OVERSCAN)))
        return Planner(frame, calibrations, self.use, self.missing == "refuse", self.temperature_tolerance, overscan)

    # ---------------------------------------------------------------- pixels

    @property
    def _overscan_keyword(self) -> list[str]:
        return [self.overscan] if self.overscan not in ("", AUTO) and not is_section(self.overscan) else []

    def _found_overscan(self, header: fits.Header, shape: tuple[int, int]) -> list[tuple[str, str]]:
        """Return the overscan that the header names as a part of the setup; it must be that of the calibration too."""
        section = header_overscan(header, shape) if self.overscan == AUTO else ""
        return [(OVERSCAN, section)] if section else []

    def _overscan(self, image: Floats, exposure: Exposure, needed: bool) -> Overscan | None:
        """Return an image's overscan; None where it has none, or one that was trimmed off and need not be there."""
        if not self.overscan:
            return None
        text = self.overscan
        if text == AUTO:
            text = dict(exposure.setup).get(OVERSCAN, "")
            try:
                return find_overscan(image, exposure, text, self.overscan_order) if text else None
            except UnusableInput:
                if needed:
                    raise
                return None  # of frames and calibration frames alike
        for keyword in self._overscan_keyword:
            text = dict(exposure.setup).get(keyword, "")
            if not text:
                raise UnusableInput(
                    f"{exposure.name} has no {keyword}: give the section itself as [reduction.ccdproc] overscan"
                )
        return find_overscan(image, exposure, text, self.overscan_order)

    def combine(
        self, plan: MasterPlan, members: Sequence[Exposure], images: Floats, masters: Mapping[str, Master]
    ) -> Master:
        """Return a master; a dark has its bias subtracted where there is one, a flat is divided by its median.

        Raises
        ------
        UnusableInput
            Where no flat has a level within `flat_levels`.
        """
        levels = np.ones(len(images))
        needed = plan.kind == FLAT and not {BIAS, DARK} & set(masters)
        overscans = [self._overscan(i, e, needed) for i, e in zip(images, members, strict=True)]
        if plan.kind == FLAT:
            whole = slice(0, images.shape[1])
            levels = np.array([_median(_corrected(i, e, masters, whole, o))
                               for i, e, o in zip(images, members, overscans, strict=True)])  # fmt: skip
        low, high = self.flat_levels
        kept = [i for i, v in enumerate(levels) if plan.kind != FLAT or (v > 0 and low <= v <= high)]
        if not kept:
            raise UnusableInput(
                f"the levels of all {len(levels)} flats, {levels.min():.0f} to {levels.max():.0f}, lie outside "
                f"[reduction.ccdproc] flat_levels = [{low:g}, {high:g}]"
            )
        image, noise = np.empty(images.shape[1:], np.float32), []
        for rows in _strips(len(kept), images.shape[1:]):
            strip = [_corrected(images[i], members[i], masters, rows, overscans[i]) / np.float32(levels[i])
                     for i in kept]  # fmt: skip
            image[rows] = self._combined(np.stack(strip))
            noise.append(_noise_of_mean(np.stack(strip)))
        bad = ~np.isfinite(image)
        if plan.kind == FLAT:
            image /= _median(image)
            with np.errstate(invalid="ignore"):
                bad |= image < self.least_sensitivity
        times = [members[i].exptime for i in kept]
        exptime = float(np.mean([t for t in times if t is not None])) if None not in times else None
        image[~np.isfinite(image)] = 1.0 if plan.kind == FLAT else 0.0
        used = tuple(members[i].name for i in kept)
        return Master(plan.kind, image, bad, exptime, used, float(np.median(noise)))

    def _combined(self, stack: Floats) -> Floats:
        ccdproc, data = _library(), _ccd_data()
        with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
            warnings.simplefilter("ignore")  # pixels that are blank in every frame have no mean
            combiner = ccdproc.Combiner([data(i, unit="adu", mask=~np.isfinite(i)) for i in stack], dtype=np.float32)
            if self.combine_by == "median":
                made = combiner.median_combine()
            else:
                usual = float(np.nanmedian(np.nanstd(stack, axis=0)))
                combiner.sigma_clipping(self.clip, self.clip, func="median", dev_func=_at_least(usual))
                made = combiner.average_combine()
        return np.where(made.mask, np.nan, made.data) if made.mask is not None else np.asarray(made.data)

    def reduce(self, image: Floats, frame: Exposure, masters: Mapping[str, Master]) -> tuple[Floats, Ints]:
        """Return the image, calibrated by its overscan, bias, dark and flat, and flags where the masters are bad.

        The noise of bias and dark is in the scatter that is measured in the frame; that of the flat is not.
        """
        flags = np.zeros(image.shape, np.uint8)
        for kind, master in masters.items():
            if master.image.shape != image.shape:
                raise UnusableInput(f"the master {kind} is {master.image.shape} (ny, nx), the frame {image.shape}")
            flags[master.bad] |= PixelFlag.DEFECT.value
        dark = masters.get(DARK)
        if dark is not None and dark.exptime and np.isfinite(self.greatest_dark):
            usual = 0.0 if BIAS in masters else _median(dark.image)  # else the bias is in it still
            flags[dark.image - usual > self.greatest_dark * dark.exptime] |= PixelFlag.HOT.value
        out, whole = np.asarray(image, np.float32), slice(0, image.shape[0])
        overscan = self._overscan(image, frame, not {BIAS, DARK} & set(masters))
        if overscan is not None:
            out = overscan.less(out, whole)
            flags[overscan.strip] |= PixelFlag.DEFECT.value
        out = _subtract_pedestal(out, frame, masters, whole)
        if FLAT in masters:
            ccdproc, data = _library(), _ccd_data()
            flat = np.where(masters[FLAT].bad, np.float32(1), masters[FLAT].image)
            made = ccdproc.flat_correct(data(out, unit="adu"), data(flat, unit="adu"), norm_value=1, add_keyword=False)
            out = np.asarray(made.data, np.float32)
        return out, flags


def _corrected(
    image: Floats, member: Exposure, masters: Mapping[str, Master], rows: slice, overscan: Overscan | None
) -> Floats:
    """Return rows of a calibration frame without overscan level, bias and dark; nan where the overscan is."""
    out = np.asarray(image[rows], np.float32)
    if overscan is not None:
        out = overscan.blank(overscan.less(out, rows), rows)
    return _subtract_pedestal(out, member, masters, rows) if masters else out


def _subtract_pedestal(image: Floats, exposure: Exposure, masters: Mapping[str, Master], rows: slice) -> Floats:
    """Return rows of an image without bias and dark; the dark is scaled to the exposure where it has no bias in it."""
    ccdproc, data = _library(), _ccd_data()
    from astropy import units

    out = data(image, unit="adu")
    if BIAS in masters:
        out = ccdproc.subtract_bias(out, data(masters[BIAS].image[rows], unit="adu"), add_keyword=False)
    dark = masters.get(DARK)
    if dark is not None:
        scale = BIAS in masters and bool(dark.exptime) and exposure.exptime is not None
        exptime, dark_exptime = (exposure.exptime, dark.exptime) if scale else (1.0, 1.0)
        out = ccdproc.subtract_dark(
            out,
            data(dark.image[rows], unit="adu"),
            dark_exposure=dark_exptime * units.s,
            data_exposure=exptime * units.s,
            scale=scale,
            add_keyword=False,
        )
    return np.asarray(out.data, np.float32)


def _library() -> Any:
    try:
        import ccdproc
    except ImportError as error:
        raise NeedMissing(
            f"calibrating frames by those of [reduction] dirs needs the package ccdproc ({error}): "
            'pip install "lcframework[calibrate]"; plugin = "none" in [reduction] leaves frames as they are'
        ) from None
    return ccdproc


def _ccd_data() -> Any:
    from astropy.nddata import CCDData

    return CCDData


def _at_least(usual: float) -> Any:
    """Return a function for the scatter of each pixel, not below the usual one: few frames measure it poorly."""
    from astropy.stats import mad_std

    def spread(values: Floats, axis: Any = None) -> Floats:
        return np.asarray(np.maximum(mad_std(values, axis=axis, ignore_nan=True), usual))

    return spread


def _strips(n: int, shape: tuple[int, ...]) -> Iterator[slice]:
    step = max(1, _STRIP // (n * shape[1]))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def _noise_of_mean(stack: Floats) -> float:
    """Return one sigma of the usual pixel's mean over the frames (n, ny, nx); nan for a single frame."""
    if len(stack) < 2:
        return float("nan")
    spread = np.std(stack, axis=0, ddof=1)
    finite = spread[np.isfinite(spread)]
    return float(np.median(finite) / np.sqrt(len(stack))) if finite.size else float("nan")


def _median(image: Floats) -> float:
    finite = image[np.isfinite(image)]
    return float(np.median(finite)) if finite.size else 0.0


def _setting(header: fits.Header, keyword: str) -> str:
    """Return a keyword's value as a text that is the same for equal values: 1, 1.0 and '1'."""
    number = as_number(value_of(header, keyword))
    return text_of(header, keyword) if number is None else f"{number:.12g}"


@hookimpl
def lcf_reductions() -> dict[str, type]:
    """Offer the reduction ``ccdproc``."""
    return {"ccdproc": Ccdproc}
