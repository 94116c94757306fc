"""A stage of the pipeline for lcframework."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import numpy as np
from sqlmodel import Session

from lcframework.hookspecs import hookimpl
from lcframework.options import whole_number
from lcframework.types import UnusableInput, source_names
from lcframework.work import Ledger, LightCurveKey, Outcome, Scope, Stage, Task, Unit, UnitKey

Curves = dict[str, tuple[list[float], list[float]]]  # by source: fluxes and their errors, e-/s


@attrs.frozen
class PluginClassTask(Task[str, Curves, dict[str, float]]):
    """Measures how much the sources of a region vary; a unit's payload is the path of its light curve."""

    fewest: int

    def load(self, unit: Unit[str]) -> Curves:
        """Read the light curve; it runs in a worker, which never opens the database."""
        from astropy.table import Table  # heavy libraries are imported where needed: most commands load this module

        table = Table.read(self.toolbox.workdir / unit.payload, format="ascii.csv")
        return {s: (list(table[f"{s}_flux"]), list(table[f"{s}_d_flux"])) for s in source_names(table.colnames)}

    def compute(self, values: Curves) -> dict[str, float]:
        """Return the relative scatter of each source beyond its errors: values in, values out, no files."""
        # CHECK: replace this by your own work.
        out = {}
        for source, (flux, error) in values.items():
            if len(flux) < self.fewest:
                raise UnusableInput(f"{len(flux)} epochs are too few: {self.fewest} are needed")
            excess = float(np.var(flux, ddof=1) - np.mean(np.square(error)))
            out[source] = max(excess, 0.0) ** 0.5 / abs(float(np.mean(flux)))
        return out

    def save(self, unit: Unit[str], values: Curves, result: dict[str, float]) -> Outcome:
        """Write the result under a name of its own in the workdir."""
        path = f"plugin_name/{unit.label}.json"
        file = self.toolbox.workdir / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(result), encoding="utf-8")
        return Outcome(path=path, summary=", ".join(f"{source} {value:.1%}" for source, value in result.items()))


@attrs.define
class PluginClass(Stage):
    """How much the sources of each region vary."""

    name: ClassVar[str] = "plugin_name"
    title: ClassVar[str] = "PluginClass"
    # CHECK: the stage that it follows, those whose products it reads, and what it makes.
    after: ClassVar[str] = "model_calibrated_cutouts"
    needs: ClassVar[tuple[str, ...]] = ("model_calibrated_cutouts",)
    makes: ClassVar[tuple[str, ...]] = ("plugin_name/<roi>.json",)
    unit: ClassVar[str] = "region"
    results_version: ClassVar[int] = 1  # raise it when answers change

    fewest: int = attrs.field(default=3, validator=whole_number(2, 1_000_000))  # epochs of a light curve

    def tasks(self) -> Mapping[type[UnitKey], Task[Any, Any, Any]]:
        """Return who does which kind of unit."""
        return {LightCurveKey: PluginClassTask(self.name, self.toolbox, self.fewest)}

    def units(self, session: Session, ledger: Ledger) -> list[Unit[Any]]:
        """Return a unit for each light curve; it is made again when the light curve or an option changes."""
        # CHECK: `components` must name all that an answer is made from; options and `results_version` are added to it.
        made = ledger.made("model_calibrated_cutouts", LightCurveKey)
        return [
            Unit(key, key.roi, self.components(light_curve=curve.token), curve.path, scope=Scope(frozenset([key.roi])))
            for key, curve in made.items()
        ]


@hookimpl
def lcf_stages() -> dict[str, type]:
    """Offer the stage; its options are those of the section ``[plugin_name]``."""
    return {"plugin_name": PluginClass}
