"""Which of the plate solutions of a frame is used: the one that stars confirm, moved to where these are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from lcframework.sky.geometry import Scale
from lcframework.sky.wcs_check import Check
from lcframework.types import Doubt, PlateSolution

#: Of several WCSs that a header may mean: the share of the most pairs that counts as as many, and by which share of
#: another's a distance must be less to be clearly less.
_AS_MANY, _CLEARLY_NEARER = 0.9, 0.8
#: A common shift of the stars by more than this, pixels, is taken off a WCS. Stamps reach further, but a star a few
#: pixels beside its place passes for a neighbour, and is masked.
_BESIDE = 1.0


@attrs.frozen(eq=False)
class Solved:
    """An accepted solution."""

    solution: PlateSolution
    solver: str
    scale: Scale
    check: Check | None = None  # None where there was no catalogue to compare with
    doubts: tuple[Doubt, ...] = ()

    @property
    def verified(self) -> bool:
        """Whether the catalogue confirms it."""
        return self.check is not None and self.check.significant

    @property
    def off(self) -> float:
        """By how many pixels stars lie from where it puts them."""
        return math.inf if self.check is None else math.hypot(self.check.rms, self.check.offset)


def chosen(solutions: Sequence[Solved]) -> Solved:
    """Return the solution of those that pass all checks which the catalogue confirms best, moved to its stars."""
    best = _best_of(solutions)
    return best if best.check is None else attrs.evolve(best, solution=moved_to_stars(best.solution, best.check))


def _best_of(solutions: Sequence[Solved]) -> Solved:
    """Return the solution that the catalogue confirms best, with its doubts; the first where it confirms none.

    Of those that bring together as many pairs as the best one, within a tenth, the one by which stars lie nearest to
    where they should; a later one must be clearly better than an earlier one.
    """
    verified = [s for s in solutions if s.verified]
    if not verified:
        first = solutions[0]
        return attrs.evolve(first, doubts=(*first.solution.doubts, *first.solution.doubts_unless_verified))
    most = max(s.check.matched for s in verified if s.check is not None)
    best, *others = [s for s in verified if s.check is not None and s.check.matched >= _AS_MANY * most]
    for other in others:
        if other.off < _CLEARLY_NEARER * best.off:
            best = other
    return attrs.evolve(best, doubts=best.solution.doubts)


def moved_to_stars(solution: PlateSolution, found: Check) -> PlateSolution:
    """Return a solution moved as a whole to where its stars are; as it is where it is not clearly beside them."""
    if not found.significant or math.hypot(*found.shift) <= _BESIDE:
        return solution
    header = solution.header.copy()
    for axis, by in zip((1, 2), found.shift, strict=True):
        header[f"CRPIX{axis}"] = float(header.get(f"CRPIX{axis}", 0.0)) + by
    return attrs.evolve(solution, header=header, refined=True)
