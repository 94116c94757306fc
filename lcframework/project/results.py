"""What a project has found: tables, light curves and exports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from sqlmodel import select

from lcframework.config.structuring import Problem, resolve_path
from lcframework.config.toolbox import options
from lcframework.plugins import asked, fault
from lcframework.project.database import ProjectDatabase
from lcframework.roi.cutout_files import FOLDER
from lcframework.roi.light_curves import read_light_curve
from lcframework.roi.series import lightkurve_of, time_series
from lcframework.stars.check_star import CheckStar, check_stars
from lcframework.stars.records import add_verdicts, star_records
from lcframework.stars.sequence import StarSequence, read_sequence
from lcframework.storage.queries import calibrations_of
from lcframework.storage.tables import Frame, Star
from lcframework.types import LcfError

if TYPE_CHECKING:
    from astropy.table import QTable, Table
    from astropy.timeseries import TimeSeries


class ProjectResults(ProjectDatabase):
    """The results of a project."""

    def light_curve(self, roi: str | None = None) -> TimeSeries:
        """Return a region's light curve, one row for each epoch.

        Raises
        ------
        LcfError
            Where the region has none yet.
        """
        return time_series(self.light_curve_table(roi))

    def light_curve_table(self, roi: str | None = None) -> QTable:
        """Return a region's light curve as a table with units; by what it is calibrated is in its ``meta``.

        Raises
        ------
        LcfError
            Where the region has none yet.
        """
        name = roi or next(iter(self.config.roi))
        if name not in self.config.roi:
            raise LcfError(f'there is no region "{name}"; regions: {", ".join(self.config.roi)}')
        table = read_light_curve(self.workdir / FOLDER, name)
        region = self.config.roi[name]
        table.meta.update(ra=region.ra, dec=region.dec)
        table.meta["positions"] = {n: list(p) for n, p in region.point_sources.items()}
        with self.session() as session:
            table.meta["calibration"] = calibrations_of(session, name)
        return table

    def lightkurve(self, roi: str | None = None, source: str | None = None) -> Any:
        """Return the light curve of a source as a ``lightkurve.LightCurve``, at barycentric times (TDB).

        Epochs without a flux are left out. Its ``flux`` and ``flux_err`` are in e-/s, and every other number of the
        source or the epochs goes along; bands and instruments are in its ``meta``. :meth:`light_curve` gives an
        ``astropy.timeseries.TimeSeries``.

        Parameters
        ----------
        roi, source : str, optional
            The region, and the point source; the first where they are left out.

        Raises
        ------
        NeedMissing
            Where lightkurve is not installed.
        LcfError
            Where there is no such source, or no light curve yet.
        """
        return lightkurve_of(self.light_curve_table(roi), source)

    def light_curve_tables(
        self,
        *,
        rois: str | Sequence[str] = (),
        bands: str | Sequence[str] = (),
        instruments: str | Sequence[str] = (),
    ) -> dict[str, QTable]:
        """Return the light curves by region name, with the epochs of these bands and instruments; empty: of all.

        Raises
        ------
        UnknownName
            Where the project has no such region, band or instrument.
        LcfError
            Where a region has no light curve yet, or none has such an epoch.
        """
        only = self._only(rois, bands, instruments)
        tables = {name: self.light_curve_table(name) for name in only.rois or self.config.roi}
        for column, names in (("band", only.bands), ("instrument", only.instruments)):
            if names:
                tables = {roi: table[np.isin(table[column], names)] for roi, table in tables.items()}
        kept = {roi: table for roi, table in tables.items() if len(table) or not only}
        if not kept:
            raise LcfError(f"no epoch of {', '.join(tables)} is left by {only}")
        return kept

    def frames(self) -> Table:
        """Return the table of frames."""
        return self._table(Frame)

    def stars(self) -> Table:
        """Return the table of reference stars, with the number of frames for each verdict on a star.

        Columns are those of ``stars`` and: ``frames``, the number of frames that contain the star; ``usable``, the
        number of those in which it is usable; the number of frames with each verdict (``saturated``, ``edge``,
        ``masked``, ``blended``, ``extended``, ``elongated``, and ``unlike`` where the PSF fit rejected it); and
        ``trouble``, these verdicts and those of the normalization in words.
        """
        table = self._table(Star)
        with self.session() as session:
            records = star_records(session)
        add_verdicts(table, records)
        return table

    def _table(self, model: type[Frame] | type[Star]) -> Table:
        from astropy.table import Table

        with self.session() as session:
            rows = [r.model_dump() for r in session.exec(select(model))]
        if not rows:
            return Table(names=[c.name for c in sa.inspect(model).columns])
        return Table(rows=rows)

    def exporter(self, name: str, table: Mapping[str, Any]) -> Any:
        """Return an exporter with its options.

        Parameters
        ----------
        name : str
            The name that its plugin offers; `lcf plugins` lists them.
        table : mapping
            Options by name.

        Raises
        ------
        LcfError
            Where no installed plugin offers the name, or an option is wrong.
        """
        problems: list[Problem] = []
        made = options(self.plugins.get("lcf_exporters", name).cls, table, name, self.config, problems)
        if made is None:
            raise LcfError("; ".join(p.message for p in problems))
        return made

    def export(self, name: str, exporter: Any, light_curve: Table, path: Path) -> None:
        """Write a light curve with an exporter of :meth:`exporter`.

        Raises
        ------
        PluginFault
            Where the exporter fails, or writes no file.
        """
        source = self.plugins.get("lcf_exporters", name).source
        asked(source, "export", exporter.export, light_curve, path)
        if not path.exists():
            raise fault(source, f"export wrote no {path}")

    def check_star(self, roi: str, light_curve: Table, wanted: str = "") -> list[tuple[str, float]]:
        """Return a check star's name and magnitude for each epoch of a region's light curve.

        Parameters
        ----------
        roi : str
            The region.
        light_curve : Table
            Of the region; its ``frame_id`` and ``zeropoint`` are used.
        wanted : str
            The star's letter; empty: in each instrument and band the steadiest of those in most frames.

        Returns
        -------
        list of (str, float)
            ``"na"`` and nan where there is none.

        Raises
        ------
        LcfError
            Where no reference star is called so.
        """
        zeropoints = [float(getattr(z, "value", z)) for z in light_curve["zeropoint"]]
        frames = [int(getattr(i, "value", i)) for i in light_curve["frame_id"]]
        with self.session() as session:
            at = dict(zip(frames, zeropoints, strict=True))
            found = check_stars(session, roi, at, wanted, self.sequence(), self.config.sequence.radius)
        nothing = CheckStar("na", {})
        stars = [found.get(i, nothing) for i in frames]
        return [(s.name, s.magnitudes.get(i, float("nan"))) for i, s in zip(frames, stars, strict=True)]

    def sequence(self) -> StarSequence | None:
        """Return the AAVSO's sequence that ``[sequence]`` names; None where it names none.

        Raises
        ------
        LcfError
            Where its file can't be read.
        """
        path = self.config.sequence.path
        return read_sequence(resolve_path(path, self.config.directory)) if path else None

    def sequence_names(self) -> dict[str, str]:
        """Return the AAVSO's identifier and label of each reference star that is in the sequence, by its own."""
        sequence = self.sequence()
        if sequence is None:
            return {}
        with self.session() as session:
            stars = session.exec(select(Star).where(Star.active)).all()
        found = sequence.named(stars, self.config.sequence.radius)
        return {star: f"{known.auid} {known.label}".strip() for star, known in found.items()}
