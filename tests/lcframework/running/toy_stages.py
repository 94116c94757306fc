"""Stages for the driver's tests: one squares numbers, one adds them; ``plan.json`` says which units misbehave."""

from __future__ import annotations

import json
import os
from typing import ClassVar

import attrs

from lcframework.hookspecs import hookimpl
from lcframework.stages.base import Outcome, Stage, Unit
from lcframework.stages.scopes import Scope
from lcframework.storage.records import Replace
from lcframework.types import NeedMissing, UnusableInput


@attrs.define
class Toy(Stage):
    """Squares numbers; a file says which units misbehave."""

    name: ClassVar[str] = "toy"
    title: ClassVar[str] = "Toy"
    after: ClassVar[str] = "initialize_database"
    size: int = 3
    factor: float = 1.0

    def units(self, session, ledger):
        return [
            Unit(
                f"u{i}",
                f"unit {i}",
                self.components(factor=self.factor, inner={"number": i}),
                i,
                scope=Scope(frozenset("XY"[i % 2])),
            )
            for i in range(self.size)
        ]

    def plan(self):
        path = self.setup.workdir / "plan.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def load(self, unit):
        action = self.plan().get(unit.key, "")
        if action == "kill" and not (self.setup.workdir / "killed").exists():
            (self.setup.workdir / "killed").touch()
            os._exit(9)
        if action == "always-kill":
            os._exit(9)
        if action == "unusable":
            raise UnusableInput(f"{unit.label} is broken")
        if action == "missing":
            raise NeedMissing("a tool is missing: apt install tool")
        if action == "full":
            raise OSError(28, "No space left on device", "/data/frames/a.fits")
        if action == "bug":
            raise ZeroDivisionError("two lines\nof text")
        return unit.payload

    def compute(self, values):
        return values**2 * self.factor

    def save(self, unit, result):
        folder = self.setup.workdir / "toys"
        folder.mkdir(exist_ok=True)
        with (folder / unit.key).open("a") as stream:
            stream.write(f"{result:g} {os.getpid()} {os.environ.get('OMP_NUM_THREADS')}\n")
        records = ()
        if self.plan().get(unit.key) == "refused":
            key = {"combined_footprint_hash": "x", "instrument": "", "band": "", "gaia_id": unit.key}
            records = (Replace("star_levels", key, [{**key, "level": None, "level_error": 0, "intrinsic_scatter": 0}]),)
        return Outcome(records, f"toys/{unit.key}", summary=f"is {result:g}")

    def retry(self, product):
        return self.plan().get("retry", False)

    def finish(self, session, workdir):
        with (workdir / "finished").open("a") as stream:
            stream.write("x")

    def outdated(self, workdir):
        return not (workdir / "finished").exists()


@attrs.define
class Sum(Stage):
    """Adds what the toys made."""

    name: ClassVar[str] = "toy_sum"
    title: ClassVar[str] = "Sum"
    after: ClassVar[str] = "toy"
    light: ClassVar[bool] = True

    def units(self, session, ledger):
        return [Unit("all", "all", self.components(toys=ledger.tokens("toy")), None)]

    def load(self, unit):
        return [float(p.read_text().split()[-3]) for p in sorted((self.setup.workdir / "toys").iterdir())]

    def compute(self, values):
        return sum(values)

    def save(self, unit, result):
        (self.setup.workdir / "sum").write_text(f"{result:g}")
        return Outcome(path="sum")


@hookimpl
def lcf_stages():
    return {"toy": Toy, "toy_sum": Sum}
