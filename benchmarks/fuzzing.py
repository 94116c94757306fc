"""Tries mutated project files, frames and catalogues: each must succeed or be refused in words, without a hang.

``python benchmarks/fuzzing.py --inputs 10000 --seed 1 [--kind project] [--keep DIR]``: prints a tally, and each kind of
failure once with the number of the input that shows it; exit code 1 where there is one. The same seed makes the same
inputs.
"""

from __future__ import annotations

import argparse
import collections
import io
import logging
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from fuzz_inputs import PLACE, SIZE, mutated_catalogue, mutated_frame, mutated_project, valid_projects

from lcframework.frames.reduction import FramePlan
from lcframework.header_doctor.reading import read_file
from lcframework.plugins import Plugins
from lcframework.project import Project
from lcframework.stages.read_convert_skysub_character_catalog import ImportFrame, RawPayload
from lcframework.types import CatalogLimits, LcfError, Region, SolveHint
from lcframework.work import Ending, FrameKey, Unit, work

KINDS = ("project", "header", "catalogue")
#: A message that is longer is none that anybody reads.
LONGEST_MESSAGE = 20_000


class Hung(BaseException):
    """An input took too long; no library catches this."""


class Wrong(Exception):
    """An input ended neither in success nor in a clear message."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """End what is done inside after some seconds."""

    def hung(number: int, frame: Any) -> None:
        raise Hung("".join(traceback.format_stack(frame, 4)))

    before = signal.signal(signal.SIGALRM, hung)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


class Fuzzer:
    """Makes inputs of one seed, and gives them to what reads them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.plugins = Plugins.installed()
        self.texts = valid_projects(self.plugins)
        (folder / "raw").mkdir(parents=True, exist_ok=True)
        path = folder / "valid.toml"
        path.write_text(self.texts[0] + '[header]\nplugin = "fits"\n[run]\nworkers = 1\nseconds_per_file = 0\n')
        self.project = Project.open(path, self.plugins)

    def input(self, kind: str, number: int) -> tuple[str, bytes]:
        """Return the ending and the contents of an input."""
        rng = random.Random(f"{kind}:{self.seed}:{number}")
        if kind == "project":
            return "toml", mutated_project(rng, self.texts)
        return ("fits", mutated_frame(rng)) if kind == "header" else mutated_catalogue(rng)

    def tried(self, kind: str, number: int, seconds: float) -> str:
        """Return how an input ended: ``success`` or ``refused``.

        Raises
        ------
        Exception or Hung
            Where it ended otherwise.
        """
        ending, data = self.input(kind, number)
        path = self.folder / f"{kind}.{ending}"
        path.write_bytes(data)
        try:
            with at_most(seconds), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                getattr(self, f"_{kind}")(path)
        except LcfError as error:
            _readable(str(error))
            return "refused"
        return "success"

    def _project(self, path: Path) -> None:
        project = Project.open(path, self.plugins, trust=False)
        project.config.for_instrument("A b")
        if project.workdir == self.folder:
            project.status()

    def _header(self, path: Path) -> None:
        toolbox = self.project.toolbox
        read_file(path, toolbox.all("header"), toolbox.config.frames)
        unit = Unit(FrameKey(1), path.name, {}, RawPayload("a", str(path), FramePlan()), 1)
        (result,) = work(ImportFrame("import", toolbox), [unit])
        if result.ending is Ending.BUG:
            raise Wrong(result.reason)
        if result.ending is not Ending.MADE:
            raise LcfError(result.reason)
        from lcframework.frames.raw_frames import read_raw
        from lcframework.storage.frame_files import read_table

        header = read_raw(path, toolbox.config.frames).header
        sources = read_table(toolbox.workdir / "frames" / "a_sources.fits")
        (solver,) = toolbox.all("plate_solving")
        solver.instance.solve(sources, (SIZE, SIZE), SolveHint(header=header))

    def _catalogue(self, path: Path) -> None:
        offers = [self.plugins.get(hook, "file") for hook in ("lcf_star_catalogs", "lcf_calibration_surveys")]
        catalogue, survey = (offer.cls(path=path) for offer in offers)
        stars = catalogue.query(Region(*PLACE, 0.5), CatalogLimits(magnitude=(10.0, 22.0)))
        if not all(np.isfinite(stars[name]).all() for name in ("ra", "dec", "magnitude")):
            raise Wrong("stars without a place or magnitude")
        survey.magnitudes(stars, "r")


def _readable(message: str) -> None:
    if not message.strip() or "Traceback" in message or len(message) > LONGEST_MESSAGE:
        raise Wrong(f"the message is not for people ({len(message)} characters): {message[:200]}")
    message.encode("utf-8")


@attrs.define
class Tally:
    """How the inputs of one kind ended, and the failures by cause: (number of the first, how many, trace)."""

    counts: collections.Counter[str] = attrs.field(factory=collections.Counter)
    failures: dict[str, list[Any]] = attrs.field(factory=dict)
    slowest: float = 0.0
    seconds: float = 0.0


def fuzz(fuzzer: Fuzzer, kind: str, inputs: int, seconds: float, told: Callable[[str], None] = print) -> Tally:
    """Try inputs of one kind, and return how they ended."""
    tally = Tally()
    for number in range(inputs):
        started = time.perf_counter()
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                ended = fuzzer.tried(kind, number, seconds)
        except (Exception, Hung, SystemExit) as error:
            ended = "hung" if isinstance(error, Hung) else "failed"
            trace = str(error) if isinstance(error, Hung | Wrong) else "".join(traceback.format_exception(error))
            cause = _cause(error, trace)
            tally.failures.setdefault(cause, [number, 0, trace])[1] += 1
        tally.counts[ended] += 1
        took = time.perf_counter() - started
        tally.slowest, tally.seconds = max(tally.slowest, took), tally.seconds + took
        if (number + 1) % 1000 == 0:
            told(f"{kind}: {number + 1} inputs, {dict(tally.counts)}")
    return tally


def _cause(error: BaseException, trace: str) -> str:
    """Return what failures of one cause share: the kind of exception and the last line of our own code."""
    lines = [line.strip() for line in trace.splitlines()]
    ours = [
        line for line in lines if line.startswith("File") and ("lcframework/" in line or "plugins_builtin/" in line)
    ]
    first = lines[0] if isinstance(error, Wrong) else type(error).__name__
    return f"{first[:100]} at {ours[-1] if ours else '?'}"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1000, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--seconds", type=float, default=10.0, help="that an input may take")
    parser.add_argument("--keep", type=Path, help="a folder for the inputs that failed")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    os.environ.pop("LCF_TRUST", None)
    failed = False
    with tempfile.TemporaryDirectory() as name:
        fuzzer = Fuzzer(Path(name).resolve(), options.seed)
        for kind in options.kind or KINDS:
            tally = fuzz(fuzzer, kind, options.inputs, options.seconds)
            print(f"{kind}: {dict(tally.counts)}; {tally.seconds:.0f} s, the slowest {tally.slowest:.1f} s")
            for cause, (number, count, trace) in sorted(tally.failures.items(), key=lambda item: -item[1][1]):
                failed = True
                print(f"  {count} x {cause} (first: input {number})")
                print("    " + "\n    ".join(trace.splitlines()[-6:]))
                if options.keep is not None:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    ending, data = fuzzer.input(kind, number)
                    (options.keep / f"{kind}-{options.seed}-{number}.{ending}").write_bytes(data)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
