"""The plate solver "existing": takes the WCS of the frame's own header, after checking it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import true_or_false
from lcframework.types import Doubt, NotSolved, PlateSolution, Severity, SolveHint, SourceTable
from plugins_builtin.astrometry.header_wcs import Reading, Readings, readings
from plugins_builtin.astrometry.solving import Refining, refitted, with_matches
from plugins_builtin.astrometry.wcs_fit import InvalidWcs, open_wcs, pixel_scales, same_place

if TYPE_CHECKING:
    from astropy.io import fits

#: arcsec/pixel that any instrument could have.
_SENSIBLE = (1e-3, 1e3)
#: Pixels by which two readings of a WCS are apart anywhere in a frame, where it matters which is right.
_DIFFERENT = 0.5


@attrs.frozen
class ExistingWcs(Refining):
    """Takes the WCS of the frame's own header, also where it is written by old conventions or in several ways."""

    results_version: ClassVar[int] = 5
    needs_position: ClassVar[bool] = False

    refine: bool = attrs.field(default=False, validator=true_or_false)  # fit it to the catalogue

    def solve(self, sources: SourceTable, shape: tuple[int, int], hint: SolveHint) -> PlateSolution | NotSolved:
        """Return the header's WCS, cleaned, or why it can't be one.

        Parameters
        ----------
        sources : SourceTable
            Compared with `hint.stars`, where those are given: the matches and their rms (about the common shift) are
            reported, but too few of them are no reason to reject; that is the core's to judge.
        shape : tuple of int
            (ny, nx).
        hint : SolveHint
            `header` is needed; `scale` is a condition where given.
        """
        if hint.header is None:
            return NotSolved("the frame has no header to read a WCS from")
        try:
            read = readings(hint.header, shape)
        except InvalidWcs as error:
            return NotSolved(f"the header's WCS is not valid: {error}; choose another [plate_solving] plugin")
        possible: list[Reading] = []
        reasons: list[str] = []
        for reading in read.found:
            try:
                self._check(reading.header, shape, hint)
            except InvalidWcs as error:
                reasons.append(str(error))
            else:
                if not any(same_place(reading.header, other.header, shape) for other in possible):
                    possible.append(reading)
        if not possible:
            why = "; ".join(dict.fromkeys([*reasons, *read.reasons])) or "there is none"
            return NotSolved(f"the header's WCS is not valid: {why}; choose another [plate_solving] plugin")
        differ = not all(same_place(possible[0].header, p.header, shape, _DIFFERENT) for p in possible[1:])

        def unsure(reading: Reading) -> tuple[Doubt, ...]:
            return _unsure(reading, read, differ)

        solutions = [self._solution(reading, unsure(reading), sources, shape, hint) for reading in possible]
        if self.refine and (matched := [s for s in solutions if s.matched]):
            best = max(matched, key=lambda s: s.matched)
            return refitted(attrs.evolve(best, doubts=(), doubts_unless_verified=()), sources, shape, hint, True)
        return attrs.evolve(solutions[0], alternatives=tuple(solutions[1:]))

    @staticmethod
    def _solution(
        reading: Reading, unless: tuple[Doubt, ...], sources: SourceTable, shape: tuple[int, int], hint: SolveHint
    ) -> PlateSolution:
        solution = with_matches(reading.header, sources, hint.stars, shape)
        return attrs.evolve(solution, doubts=reading.doubts, doubts_unless_verified=unless)

    @staticmethod
    def _check(header: fits.Header, shape: tuple[int, int], hint: SolveHint) -> None:
        kinds = [str(header.get(f"CTYPE{i}", "")) for i in (1, 2)]
        if not any(kinds):
            raise InvalidWcs("there is none (no CTYPE1, CTYPE2)")
        wcs = open_wcs(header)
        if not wcs.has_celestial:
            raise InvalidWcs(f"its axes {kinds[0]!r}, {kinds[1]!r} are not celestial coordinates")
        if "CRVAL1" not in header or "CRVAL2" not in header:
            raise InvalidWcs("it has no reference position (CRVAL1, CRVAL2)")
        matrix = wcs.pixel_scale_matrix
        if not np.all(np.isfinite(matrix)) or abs(np.linalg.det(matrix)) <= 1e-6 * np.sum(matrix**2):
            raise InvalidWcs("its matrix of scales and rotation is singular")
        scales = pixel_scales(wcs, shape)
        low, high = hint.scale or _SENSIBLE
        if not all(low <= s <= high for s in scales):
            where = "in [plate_solving] pixel_scale" if hint.scale else "that any camera has"
            raise InvalidWcs(
                f"its scale of {scales[0]:.4g} x {scales[1]:.4g} arcsec/pixel is outside {low:g} to {high:g} {where}"
            )


def _unsure(reading: Reading, read: Readings, differ: bool) -> tuple[Doubt, ...]:
    """Return what is doubtful about a reading that no catalogue confirms: nothing where all readings are one place."""
    cure = "Compare with a catalogue ([plate_solving] verify = true, [stars] plugin), or mend the header"
    if lost := [why for why, likeliest in read.unmade if likeliest]:
        text = f"the likeliest reading of the header's WCS can't be made ({'; '.join(lost)}), and no comparison with a "
        text += f"catalogue confirms the other that is used: {reading.words}; positions may be off by a degree"
        return (Doubt("ambiguous_wcs", text, cure, severity=Severity.SERIOUS),)
    if not read.contradictions or not (differ or read.unmade):
        return ()
    text = f"the header can be read as several WCSs ({'; '.join(read.contradictions)}), and no comparison with a "
    text += f"catalogue says which is right: it is read as {reading.words}"
    return (Doubt("ambiguous_wcs", text, cure),)


@hookimpl
def lcf_plate_solvers() -> dict[str, type]:
    """Offer the plate solver ``existing``."""
    return {"existing": ExistingWcs}
