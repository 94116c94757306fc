"""``calculate_absolute_zeropoints``: the magnitude of 1 e-/s after normalization, from a survey's magnitudes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np
from sqlmodel import Session, select

from lcframework.provenance import digest
from lcframework.stages.calculate_normalization_coefficient import CalculateNormalizationCoefficient as Normalization
from lcframework.stars.survey_magnitudes import survey_magnitudes
from lcframework.stars.zeropoint import Zeropoint, fit_zeropoint
from lcframework.stars.zeropoint_doubts import guessed_band, zeropoint_doubts
from lcframework.storage.queries import active_stars
from lcframework.storage.records import Record
from lcframework.storage.tables import StarLevel
from lcframework.types import Doubt, NeedMissing, UnusableInput
from lcframework.types.json_values import finite_or_none
from lcframework.work import FieldGroupKey, Ledger, Outcome, Replace, Scope, Stage, Task, Unit, UnitKey
from lcframework.work.scopes import field_rois

if TYPE_CHECKING:
    from astropy.table import Table


@attrs.frozen(eq=False)
class Levels:
    """The stars of one field, instrument and band, with their normalised fluxes (`level`, e-/s).

    The survey is queried for `field_stars`, all stars of the field. The query is then the same for every instrument,
    band and later run, whichever stars were measured, so that its cached answer can be used.
    """

    field: str
    instrument: str
    band: str
    survey_band: str
    stars: list[dict[str, Any]]
    level: list[float]
    level_error: list[float]
    field_stars: list[dict[str, Any]]
    guessed: bool = False  # neither the user nor the filter's name says which band of the survey it is


@attrs.frozen(eq=False)
class Calibrated:
    """A zero point, and the magnitudes and the survey from which it was fitted."""

    zeropoint: Zeropoint
    magnitudes: Table
    survey: str
    doubts: tuple[Doubt, ...] = ()


class FitZeropoint(Task[Levels, Levels, Calibrated]):
    """Queries the survey for the stars of a group, and fits the zero point."""

    light: ClassVar[bool] = True

    def load(self, unit: Unit[Levels]) -> Levels:
        """Return the payload: the levels of the stars."""
        return unit.payload

    def compute(self, values: Levels) -> Calibrated:
        """Query the survey and fit the zero point."""
        tool = self.toolbox.tool("calibration", values.instrument)
        if tool is None:
            raise NeedMissing('[calibration] plugin = "none"')
        table = survey_magnitudes(tool, values.field_stars, values.survey_band)
        at = {str(s["gaia_id"]): i for i, s in enumerate(values.stars)}
        table = table[[str(i) in at for i in table["source_id"]]]
        rows = np.array([at[str(i)] for i in table["source_id"]], int)
        level, error = np.array(values.level)[rows], np.array(values.level_error)[rows]
        mag, mag_error = np.asarray(table["mag"], float), np.asarray(table["mag_err"], float)
        colour = np.asarray(table["colour"], float) if "colour" in table.colnames else np.full(len(mag), np.nan)
        measured = (level > 0) & np.isfinite(mag)
        with np.errstate(invalid="ignore"):
            good = measured & np.isfinite(mag_error) & (mag_error > 0)
        unknown = int(measured.sum() - good.sum())
        if unknown and not good.any():
            raise UnusableInput(
                f"[calibration] {tool.name} gives none of its {unknown} magnitudes a positive error: an error of zero "
                "is an unknown one. Give the errors, or calibrate with another survey"
            )
        try:
            fitted = fit_zeropoint(level[good], error[good], mag[good], np.maximum(mag_error[good], 1e-4), colour[good])
        except ValueError:
            raise UnusableInput(
                f"[calibration] {tool.name} has no {values.survey_band} magnitude for any of {len(values.stars)} stars"
            ) from None
        doubts = zeropoint_doubts(fitted, unknown, len(values.field_stars))
        if values.guessed:
            doubts += (guessed_band(values.band, values.survey_band, tool.name),)
        return Calibrated(fitted, table[good], tool.name, doubts)

    def save(self, unit: Unit[Levels], values: Levels, result: Calibrated) -> Outcome:
        """Return the rows of the zero point and of the magnitudes."""
        levels = values
        z, table = result.zeropoint, result.magnitudes
        system = str(table.meta["system"])
        where = {"combined_footprint_hash": levels.field, "instrument": levels.instrument, "band": levels.band}
        row = {
            **where, "catalog": result.survey, "catalog_band": levels.survey_band, "system": system,
            "zeropoint": z.zeropoint, "zeropoint_uncertainty": z.uncertainty, "scatter": z.scatter, "stars": z.stars,
            "colour": str(table.meta.get("colour", "")), "colour_term": z.colour_term,
            "colour_term_uncertainty": z.colour_term_uncertainty, "reference_colour": z.reference_colour,
        }  # fmt: skip
        records: list[Record] = [Replace("absolute_zeropoints", where, [row])]
        for star in table:
            of_star = {"catalog": result.survey, "band": levels.survey_band, "gaia_id": str(star["source_id"])}
            colour = float(star["colour"]) if "colour" in table.colnames else float("nan")
            found = {"mag": float(star["mag"]), "mag_err": float(star["mag_err"]), "system": system,
                      "colour": finite_or_none(colour)}  # fmt: skip
            records.append(Replace("catalog_star_photometry", of_star, [{**of_star, **found}]))
        token = digest([f"{z.zeropoint:.9g}", f"{z.uncertainty:.6g}", system])
        summary = f"{z.zeropoint:.3f} +- {z.uncertainty:.3f} ({z.stars} stars)"
        return Outcome(tuple(records), token=token, summary=summary, doubts=result.doubts)


@attrs.define
class CalculateAbsoluteZeropoints(Stage):
    """One unit for each field, instrument and band; none where ``[calibration] plugin = "none"``."""

    name: ClassVar[str] = "calculate_absolute_zeropoints"
    title: ClassVar[str] = "Zero points"
    needs: ClassVar[tuple[str, ...]] = (Normalization.name,)
    makes: ClassVar[tuple[str, ...]] = ("absolute_zeropoints", "catalog_star_photometry")
    unit: ClassVar[str] = "field, instrument and band"
    reads: ClassVar[tuple[str, ...] | None] = ("combined_footprint", "stars", "star_levels")
    results_version: ClassVar[int] = 3

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return the task that fits zero points."""
        return {FieldGroupKey: FitZeropoint(self.name, self.toolbox)}

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return a unit for each group that is normalised."""
        normalized = ledger.made(Normalization.name, FieldGroupKey)
        stars = {key: dict(star._mapping) for key, star in active_stars(session).items()}
        found: dict[FieldGroupKey, list[StarLevel]] = {}
        for row in session.exec(select(StarLevel).where(StarLevel.comment == "")):
            if (row.combined_footprint_hash, row.gaia_id) not in stars:
                continue
            key = FieldGroupKey(row.combined_footprint_hash, row.instrument, row.band)
            found.setdefault(key, []).append(row)
        rois = field_rois(session)
        units: list[Unit[Any]] = []
        for key, rows in sorted(found.items(), key=lambda item: attrs.astuple(item[0])):
            field, instrument, band = attrs.astuple(key)
            product = normalized.get(key)
            if product is None or self.toolbox.tool("calibration", instrument) is None:
                continue
            selected = [stars[field, r.gaia_id] for r in rows]
            calibration = self.toolbox.config_for(instrument).calibration
            survey_band, guessed = calibration.band_of(band), calibration.guesses(band)
            what = [[s[c] for c in ("gaia_id", "ra", "dec", "magnitude", "bp", "rp")] for s in selected]
            parts = {
                "normalization": product.token, "stars": digest(what), "band": survey_band,
                "calibration": self.toolbox.identity("calibration", instrument),
                **({"guessed": True} if guessed else {}),
            }  # fmt: skip
            chosen = [s for (hash_, _), s in sorted(stars.items()) if hash_ == field]
            levels = Levels(
                field, instrument, band, survey_band, selected,
                [r.level for r in rows], [r.level_error for r in rows], chosen, guessed,
            )  # fmt: skip
            units.append(
                Unit(
                    key, f"{instrument} {band}", self.components(**parts), levels,
                    scope=Scope(rois.get(field), instrument, band),
                )
            )  # fmt: skip
        return units
