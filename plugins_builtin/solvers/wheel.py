"""The plate solver "wheel": Astrometry.net's engine in the Python package ``astrometry``, and index files."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import positive, true_or_false
from lcframework.types import NeedMissing, NotSolved, PlateSolution, SolveHint, SourceTable
from plugins_builtin.astrometry.solving import (
    Refining,
    brightest,
    icrs,
    order_of_sip,
    refitted,
    search_cone,
    star_list,
    with_matches,
)
from plugins_builtin.astrometry.star_match import positions
from plugins_builtin.astrometry.wcs_fit import InvalidWcs

_BATCH = 25  # sources whose patterns are tried together, brightest first


@attrs.frozen
class Wheel(Refining):
    """Solves without any system package: ``pip install lcframework[solve]`` and index files are all it needs."""

    results_version: ClassVar[int] = 1

    index_dir: Path | None = None  # a folder of index files (*.fits)
    sip_order: int = attrs.field(default=1, validator=order_of_sip)  # 0: no distortion
    max_sources: int = attrs.field(default=100, validator=positive)  # the brightest are tried
    # fit to [stars]'s catalogue; else to the stars of the index files
    refine: bool = attrs.field(default=False, validator=true_or_false)

    def solve(self, sources: SourceTable, shape: tuple[int, int], hint: SolveHint) -> PlateSolution | NotSolved:
        """Return the frame's WCS, or why none was found; the hint's position, radius and scale narrow the search.

        Raises
        ------
        NeedMissing
            Where the package or the index files are not there.
        """
        try:
            import astrometry
        except ImportError as error:
            raise NeedMissing(
                "the Python package astrometry is not installed: pip install 'lcframework[solve]'"
            ) from error
        rows = brightest(sources, self.max_sources)
        if isinstance(rows, NotSolved):
            return rows
        size = astrometry.SizeHint(*hint.scale) if hint.scale is not None else None
        cone = search_cone(shape, hint)
        position = astrometry.PositionHint(*cone) if cone is not None else None
        parameters = astrometry.SolutionParameters(
            sip_order=self.sip_order,
            tune_up_logodds_threshold=14.0 if self.sip_order > 0 else None,
            slices_generator=astrometry.batches_generator(_BATCH),
            # The first match beyond the threshold is as good as certain: one in 10^9.
            logodds_callback=lambda _: astrometry.Action.STOP,
        )
        # FITS counts pixels from 1.
        answer = self._engine().solve((positions(sources, rows) + 1.0).tolist(), size, position, parameters)
        if not answer.has_match():
            return NotSolved(
                f"no match for the brightest {len(rows)} sources; check pixel_scale, search_radius in [plate_solving], "
                "and whether the index files hold patterns of a tenth to all of the frame's size"
            )
        return self._solution(answer.best_match(), sources, shape, hint)

    def _engine(self) -> Any:
        folder = None if self.index_dir is None else self.index_dir.expanduser()
        files = () if folder is None else tuple(sorted(folder.glob("*.fits")))
        if not files:
            where = f"{folder} holds none" if folder else "index_dir is not set"
            raise NeedMissing(
                f"index files are needed: {where}; set index_dir in [plate_solving.wheel] to a folder of them, such as "
                "/usr/share/astrometry where Debian's astrometry-data-tycho2 is installed"
            )
        return _load(files)

    def _solution(
        self, match: Any, sources: SourceTable, shape: tuple[int, int], hint: SolveHint
    ) -> PlateSolution | NotSolved:
        from astropy.io import fits

        header = fits.Header(fits.Card(name, *value) for name, value in match.wcs_fields.items())
        try:
            header = icrs(header)
        except InvalidWcs as error:
            return NotSolved(f"the engine's WCS is not valid: {error}")
        ra, dec = (np.array([getattr(star, name) for star in match.stars], float) for name in ("ra_deg", "dec_deg"))
        index_stars = star_list(ra, dec)
        solution = with_matches(header, sources, index_stars, shape)
        return refitted(solution, sources, shape, hint, self.refine, index_stars)


@functools.lru_cache(maxsize=2)
def _load(files: tuple[Path, ...]) -> Any:
    """Open index files once a process."""
    import astrometry

    return astrometry.Solver(list(files))


@hookimpl
def lcf_plate_solvers() -> dict[str, type]:
    """Offer the plate solver ``wheel``."""
    return {"wheel": Wheel}
