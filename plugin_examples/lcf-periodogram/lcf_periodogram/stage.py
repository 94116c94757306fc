"""The stage: a periodogram of each source of each region, made again when the light curve is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from lcf_periodogram.search import Periodogram, periodogram
from lcframework.hookspecs import hookimpl
from lcframework.options import above
from lcframework.types import UnusableInput, source_names
from lcframework.work import Ledger, LightCurveKey, Outcome, Scope, Stage, Task, Unit, UnitKey

if TYPE_CHECKING:
    from astropy.table import Table
    from sqlmodel import Session

FOLDER = "periodograms"


@attrs.frozen
class FindPeriods(Task[str, Any, dict[str, Periodogram]]):
    """Searches the periods of a region's sources; its payload is the path of the light curve."""

    shortest: float  # d
    longest: float  # d
    oversampling: float

    def load(self, unit: Unit[str]) -> Table:
        """Read the light curve."""
        from astropy.table import Table

        return Table.read(self.toolbox.workdir / unit.payload, format="ascii.csv")

    def compute(self, values: Table) -> dict[str, Periodogram]:
        """Return a periodogram a source; sources that have none are left out, as long as one has."""
        found, reasons = {}, []
        for source in source_names(values.colnames):
            try:
                found[source] = periodogram(values, source, self.shortest, self.longest, self.oversampling)
            except UnusableInput as error:
                reasons.append(str(error))
        if not found:
            raise UnusableInput("; ".join(reasons) or "the light curve has no source")
        return found

    def save(self, unit: Unit[str], values: Table, result: dict[str, Periodogram]) -> Outcome:
        """Write one table a region: a row a frequency and source, and the peaks in its header."""
        from astropy.table import Table, vstack

        parts = []
        for source, found in result.items():
            part = Table({"frequency": found.frequency, "power": found.power})
            part.add_column([source] * len(part), 0, "source")
            parts.append(part)
        table = vstack(parts)
        table["frequency"].unit = "1/d"
        table.meta = {"sources": {source: found.summary() for source, found in result.items()}}
        path = f"{FOLDER}/{unit.label}.ecsv"
        file = self.toolbox.workdir / path
        file.parent.mkdir(exist_ok=True)
        part_file = file.with_suffix(".part")
        table.write(part_file, format="ascii.ecsv", overwrite=True)
        part_file.replace(file)  # others never read half a file
        first = next(iter(result.items()))
        return Outcome(path=path, summary=f"{first[0]}: {first[1].period:.5g} d")


@attrs.define
class PeriodogramStage(Stage):
    """One unit a region."""

    name: ClassVar[str] = "periodogram"
    title: ClassVar[str] = "Periodograms"
    after: ClassVar[str] = "model_calibrated_cutouts"
    needs: ClassVar[tuple[str, ...]] = ("model_calibrated_cutouts",)
    makes: ClassVar[tuple[str, ...]] = (f"{FOLDER}/<roi>.ecsv",)
    unit: ClassVar[str] = "region"
    results_version: ClassVar[int] = 1  # raised when answers change

    shortest: float = attrs.field(default=0.1, validator=above(0.0, finite=True))  # d
    longest: float = attrs.field(default=1000.0, validator=above(0.0, finite=True))  # d
    oversampling: float = attrs.field(default=10.0, validator=above(1.0, finite=True))  # frequencies a peak's width

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return who does which kind of unit."""
        options = (self.shortest, self.longest, self.oversampling)
        return {LightCurveKey: FindPeriods(self.name, self.toolbox, *options)}

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return a unit for each light curve that there is."""
        made = ledger.made("model_calibrated_cutouts", LightCurveKey)
        return [
            Unit(
                key,
                key.roi,
                self.components(light_curve=product.token),
                product.path,
                scope=Scope(frozenset([key.roi])),
            )
            for key, product in made.items()
        ]


@hookimpl
def lcf_stages() -> dict[str, type]:
    """Offer the stage."""
    return {"periodogram": PeriodogramStage}
