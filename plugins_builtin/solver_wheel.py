"""The plate solver "wheel": Astrometry.net's engine in the Python package ``astrometry``, and index files."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
from astropy.io import fits
from astropy.table import Table

from lcframework.hookspecs import hookimpl
from lcframework.types import NeedMissing, NotSolved, PlateSolution, SolveHint, SourceTable
from plugins_builtin.star_match import bright_sources, match_stars, positions, refine
from plugins_builtin.wcs_fit import InvalidWcs, celestial_keywords, open_wcs

_FEWEST_SOURCES = 4
_BATCH = 25  # sources whose patterns are tried together, brightest first


def _positive(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be positive, got {value!r}")


@attrs.frozen
class Wheel:
    """Solves without any system package: ``pip install lcframework[solve]`` and index files are all it needs."""

    results_version: ClassVar[int] = 1

    index_dir: Path | None = None  # a folder of index files (*.fits)
    sip_order: int = attrs.field(default=1, validator=attrs.validators.in_(range(0, 6)))  # 0: no distortion
    max_sources: int = attrs.field(default=100, validator=_positive)  # the brightest are tried
    refine: bool = attrs.field(
        default=False, validator=attrs.validators.instance_of(bool)
    )  # fit to [stars]'s catalogue

    @property
    def needs_stars(self) -> bool:
        """Whether the catalogue's stars must be in the hint."""
        return self.refine

    def solve(self, sources: SourceTable, shape: tuple[int, int], hint: SolveHint) -> PlateSolution | NotSolved:
        """Return the frame's WCS, or why none was found.

        Parameters
        ----------
        sources : SourceTable
        shape : tuple
            (ny, nx) of the frame.
        hint : SolveHint
            Position, radius and scale narrow the search. With `refine`, the WCS is fitted again to those of `stars`
            that match; without, to those of the index files.

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
        rows = bright_sources(sources, self.max_sources)
        if len(rows) < _FEWEST_SOURCES:
            return NotSolved(f"{len(rows)} sources are too few to solve with ({_FEWEST_SOURCES} are needed)")
        size = astrometry.SizeHint(*hint.scale) if hint.scale is not None else None
        place = None
        if hint.ra is not None and hint.dec is not None and hint.radius is not None:
            reach = 0.0 if hint.scale is None else 0.5 * float(np.hypot(*shape)) * hint.scale[1] / 3600.0
            place = astrometry.PositionHint(float(hint.ra) % 360.0, float(hint.dec), float(hint.radius) + reach)
        parameters = astrometry.SolutionParameters(
            sip_order=self.sip_order,
            tune_up_logodds_threshold=14.0 if self.sip_order > 0 else None,
            slices_generator=astrometry.batches_generator(_BATCH),
            # The first match beyond the threshold is as good as certain: one in 10^9.
            logodds_callback=lambda _: astrometry.Action.STOP,
        )
        # FITS counts pixels from 1.
        answer = self._engine().solve((positions(sources, rows) + 1.0).tolist(), size, place, parameters)
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
        header = fits.Header(fits.Card(name, *value) for name, value in match.wcs_fields.items())
        try:
            header = celestial_keywords(header)
        except InvalidWcs as error:
            return NotSolved(f"the engine's WCS is not valid: {error}")
        # The index files' positions are on the ICRS; an equinox alone would be read as FK5.
        header.pop("EQUINOX", None)
        header["RADESYS"] = "ICRS"
        catalogue = hint.stars if self.refine and hint.stars is not None and len(hint.stars) else None
        if catalogue is None:
            catalogue = Table({"ra": [s.ra_deg for s in match.stars], "dec": [s.dec_deg for s in match.stars]})
            catalogue["magnitude"] = 0.0  # the index holds the brightest alone, all of them wanted
        pairs = match_stars(open_wcs(header), sources, catalogue, shape)
        solution = PlateSolution(header, len(pairs.source), pairs.rms)
        return refine(solution, sources, catalogue, shape)


@functools.lru_cache(maxsize=2)
def _load(files: tuple[Path, ...]) -> Any:
    """Open index files once a process."""
    import astrometry

    return astrometry.Solver(list(files))


@hookimpl
def lcf_plate_solvers() -> dict[str, type]:
    """Name the solver."""
    return {"wheel": Wheel}
