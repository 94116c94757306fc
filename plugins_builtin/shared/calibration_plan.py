"""Which kinds of calibration frames are used for a frame, which masters that makes, and what is then left undone."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from lcframework.types import Doubt, Exposure, MasterPlan, Severity, UnusableInput
from plugins_builtin.shared.calibration_matching import (
    BIAS,
    DARK,
    FLAT,
    CalibrationSet,
    best_dark,
    darks,
    describe_available,
    describe_needed,
    matching,
    usable_without_scaling,
)

KINDS = (BIAS, DARK, FLAT)
AUTO = "auto"
_ADD = "Put some into a folder of [reduction] dirs"


@attrs.frozen
class Planner:
    """Plans the masters for one frame.

    Attributes
    ----------
    frame : Exposure
    calibrations : sequence of Exposure
        All calibration frames there are.
    use : str or list of str
        The kinds to apply; ``"auto"``: those of which there are frames, as far as the detector's zero level is known
        for each: what a flat is divided by must be free of it.
    refuse : bool
        Whether a frame is refused for which one of the kinds has no match.
    temperature_tolerance : float
        Between a frame and its darks, degrees C.
    overscan : bool
        Whether the zero level is subtracted by an overscan.
    """

    frame: Exposure
    calibrations: Sequence[Exposure]
    use: str | list[str]
    refuse: bool
    temperature_tolerance: float
    overscan: bool

    @property
    def kinds(self) -> set[str]:
        """The kinds that are applied to the frame."""
        if self.use != AUTO:
            return set(self.use)
        present = {e.kind for e in self.calibrations} & set(KINDS)
        if not self.overscan and not {BIAS, DARK} & present:
            present.discard(FLAT)  # nothing tells the zero level that is in it, and in the frame
        return present

    def masters(self) -> tuple[MasterPlan, ...]:
        """Return the masters.

        Raises
        ------
        UnusableInput
            Where none matches and frames are to be refused, saying what there is.
        """
        bias, dark = self._pedestal(self.frame)
        flat = self._flat()[0] if FLAT in self.kinds else None
        if bias is None and dark is None and self._needs_pedestal:
            flat = None  # divided by a flat, a frame's pedestal would take on its shape
        return tuple(plan for plan in (bias, dark, flat) if plan is not None)

    def doubts(self) -> tuple[Doubt, ...]:
        """Return what is left undone, where the calibration frames decide what is done."""
        present = {e.kind for e in self.calibrations} & set(KINDS)
        if self.use != AUTO or not present:
            return ()
        found = []
        if DARK not in present and BIAS in present:
            text = "no dark current was subtracted: there are biases and no darks"
            accept = 'or accept it by use = ["bias", "flat"] in [reduction.ccdproc]'
            found.append(Doubt("dark_not_subtracted", text, f"{_ADD}, {accept}", severity=Severity.NOTE))
        if FLAT not in present:
            text = "pixels were not corrected for their sensitivity: there are no flats"
            accept = f"or accept it by use = {sorted(present)} in [reduction.ccdproc]".replace("'", '"')
            found.append(Doubt("flat_not_divided", text, f"{_ADD}, {accept}", severity=Severity.NOTE))
        else:
            why = "" if FLAT in self.kinds else "nothing tells their zero level: there is no bias, dark or overscan"
            why = why or self._flat()[1]
            if why:
                text = f"pixels were not corrected for their sensitivity: the flats can't be used: {why}"
                found.append(Doubt("flats_unusable", text, "Add biases, or darks of the flats' exposure time"))
        return tuple(found)

    @property
    def _needs_pedestal(self) -> bool:
        """Whether a flat may only be used where bias or dark free it of the zero level."""
        wanted = bool({BIAS, DARK} & self.kinds)
        return wanted and not (self.use == AUTO and self.overscan)

    def _pedestal(self, exposure: Exposure) -> tuple[MasterPlan | None, MasterPlan | None]:
        """Return the bias and the dark for a frame or a flat; a dark is scaled only where its bias is known."""
        biases = matching(exposure, BIAS, self.calibrations) if BIAS in self.kinds else []
        bias = CalibrationSet(BIAS, tuple(biases)).plan() if biases else None
        if bias is None and BIAS in self.kinds:
            self._refuse_missing(exposure, BIAS)
        if DARK not in self.kinds:
            return bias, None
        tolerance = self.temperature_tolerance
        groups = darks(matching(exposure, DARK, self.calibrations), tolerance)
        found = None
        if exposure.exptime is not None:
            found = best_dark(groups, exposure.exptime, exposure.temperature, tolerance, scaled=bias is not None)
        if found is None:
            self._refuse_missing(exposure, DARK)
        return bias, found.plan([bias]) if found else None

    def _flat(self) -> tuple[MasterPlan | None, str]:
        """Return the flat for the frame; or none, and why the flats that match it can't be used."""
        flats = matching(self.frame, FLAT, self.calibrations)
        if not flats:
            self._refuse_missing(self.frame, FLAT)
            return None, ""
        if DARK in self.kinds and not (BIAS in self.kinds and matching(self.frame, BIAS, self.calibrations)):
            available = matching(self.frame, DARK, self.calibrations)
            flats = usable_without_scaling(flats, available, self.temperature_tolerance)
        typical = sorted(flats, key=lambda e: (e.exptime or 0.0, e.name))[len(flats) // 2]
        try:
            bias, dark = self._pedestal(typical)
        except UnusableInput as error:
            if self.use != AUTO:
                raise UnusableInput(f"the flats can't be used: {error}") from None
            if self.overscan:
                return CalibrationSet(FLAT, tuple(flats)).plan(), ""
            return None, str(error).partition(". Add some")[0]
        if bias is None and dark is None and self._needs_pedestal:
            return None, ""  # flats with their pedestal left in them would do harm
        return CalibrationSet(FLAT, tuple(flats)).plan([bias, dark]), ""

    def _refuse_missing(self, exposure: Exposure, kind: str) -> None:
        """Raise UnusableInput where no calibration frame of a kind matches, unless that one is to be skipped."""
        if not self.refuse:
            return
        needed = describe_needed(exposure, kind)
        unknown = (
            ". A flat is used where both filters are known: name the keyword by band_keyword in [header.fits], or "
            "where there is one filter, or none, call it something by band"
        )
        only = "" if kind != DARK or BIAS in self.kinds else " (without a bias a dark can't be scaled to the exposure)"
        others = [k for k in KINDS if k in self.kinds and k != kind]
        leave = f'leave "{kind}" out of [reduction.ccdproc] use'
        if self.use == AUTO:
            leave = f"set use = {others} in [reduction.ccdproc]".replace("'", '"') if others else 'set plugin = "none"'
        raise UnusableInput(
            f"no {kind} matches ({needed}){only}: {describe_available(exposure, kind, self.calibrations)}"
            f"{unknown if kind == FLAT and not exposure.band else ''}. Add some to "
            f'[reduction] dirs, {leave}, see its match and keywords, or set missing = "skip"'
        )
