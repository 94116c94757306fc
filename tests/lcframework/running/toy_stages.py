"""Stages for the driver's tests: one squares numbers, one adds them; ``plan.json`` says which units misbehave."""

from __future__ import annotations

import json
import os
import time
from typing import ClassVar

import attrs

from lcframework.hookspecs import hookimpl
from lcframework.storage.records import Replace
from lcframework.types import NeedMissing, UnusableInput
from lcframework.work import Outcome, ProjectKey, Scope, Stage, Task, Unit, UnitKey


@attrs.frozen
class NumberKey(UnitKey):
    """A number."""

    name: str


@attrs.frozen
class Square(Task):
    """Squares a number."""

    factor: float

    def plan(self):
        return plan_of(self.toolbox)

    def files(self, unit):
        return 1

    def load(self, unit):
        action = self.plan().get(str(unit.key), "")
        if action == "kill" and not (self.toolbox.workdir / "killed").exists():
            (self.toolbox.workdir / "killed").touch()
            os._exit(9)
        if action == "always-kill":
            os._exit(9)
        while action == "hang":
            pass
        while action == "hang-for-good":
            try:
                time.sleep(1)
            except Exception:
                continue  # as libraries do that retry
        if action == "unusable":
            raise UnusableInput(f"{unit.label} is broken")
        if action == "missing":
            raise NeedMissing("a tool is missing: apt install tool")
        if action == "full":
            raise OSError(28, "No space left on device", "/data/frames/a.fits")
        if action == "away" or (action == "away for a moment" and not (self.toolbox.workdir / "away").exists()):
            (self.toolbox.workdir / "away").touch()
            raise OSError(116, "Stale file handle", "/share/a.fits")
        if action == "bug":
            raise ZeroDivisionError("two lines\nof text")
        return unit.payload

    def compute(self, values):
        return values**2 * self.factor

    def save(self, unit, values, result):
        name = str(unit.key)
        folder = self.toolbox.workdir / "toys"
        folder.mkdir(exist_ok=True)
        with (folder / name).open("a") as stream:
            stream.write(f"{result:g} {os.getpid()} {os.environ.get('OMP_NUM_THREADS')}\n")
        records = ()
        if self.plan().get(name) == "refused":
            key = {"combined_footprint_hash": "x", "instrument": "", "band": "", "gaia_id": name}
            records = (Replace("star_levels", key, [{**key, "level": None, "level_error": 0, "intrinsic_scatter": 0}]),)
        return Outcome(records, f"toys/{name}", summary=f"is {result:g}")


class Fit(Square):
    """Squares numbers on an accelerator, several at once."""

    accelerator: ClassVar[bool] = True
    batch_size: ClassVar[int] = 16


def plan_of(toolbox):
    path = toolbox.workdir / "plan.json"
    return json.loads(path.read_text()) if path.exists() else {}


@attrs.define
class Toy(Stage):
    """Squares numbers; a file says which units misbehave."""

    name: ClassVar[str] = "toy"
    title: ClassVar[str] = "Toy"
    after: ClassVar[str] = "initialize_database"
    operational: ClassVar[frozenset[str]] = frozenset({"size", "beyond", "fit"})
    size: int = 3
    factor: float = 1.0
    beyond: bool = False
    fit: bool = False

    def tasks(self):
        return {NumberKey: (Fit if self.fit else Square)(self.name, self.toolbox, self.factor)}

    def units(self, session, ledger):
        if self.beyond:
            ledger.of_stage("psf_modeling")
        return [
            Unit(
                NumberKey(f"u{i}"),
                f"unit {i}",
                self.components(inner={"number": i}),
                i,
                scope=Scope(frozenset("XY"[i % 2])),
            )
            for i in range(self.size)
        ]

    def retry(self, product):
        return plan_of(self.toolbox).get("retry", False)

    def finish(self, session, ledger, workdir):
        with (workdir / "finished").open("a") as stream:
            stream.write("x")

    def outdated(self, workdir):
        return not (workdir / "finished").exists()


class Add(Task):
    """Adds what the toys made."""

    light: ClassVar[bool] = True

    def load(self, unit):
        return [float(p.read_text().split()[-3]) for p in sorted((self.toolbox.workdir / "toys").iterdir())]

    def compute(self, values):
        return sum(values)

    def save(self, unit, values, result):
        (self.toolbox.workdir / "sum").write_text(f"{result:g}")
        return Outcome(path="sum")


@attrs.define
class Sum(Stage):
    """Adds what the toys made."""

    name: ClassVar[str] = "toy_sum"
    title: ClassVar[str] = "Sum"
    after: ClassVar[str] = "toy"
    needs: ClassVar[tuple[str, ...]] = ("toy",)

    def tasks(self):
        return {ProjectKey: Add(self.name, self.toolbox)}

    def units(self, session, ledger):
        made = {str(k): p.token for k, p in ledger.made("toy", NumberKey).items()}
        return [Unit(ProjectKey(), "all", self.components(toys=made), None)]


@hookimpl
def lcf_stages():
    return {"toy": Toy, "toy_sum": Sum}
