"""How many small mistakes in the numerics the tests notice.

    python benchmarks/mutation_testing.py --seed 1 --mutants 20

A random sample of changes (a plus for a minus, a constant doubled, a `not` left out) is applied one at a time to a copy
of the repository, and the tests run that belong to the changed module: those in the folder that mirrors its own, those
of the plugins that use it, and the hard campaign of `tests/end_to_end`, the quickest first, until one fails. Printed
are the share of mutants that were killed, with its standard error, and those that survived; some of these change
nothing that matters. A sample of one seed and size is the same as long as the modules are. First the tests run without
a mutation, which takes some minutes; then a mutant takes about a minute of a core.
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import attrs
from mutations import Mutation, mutations

T = TypeVar("T")
R = TypeVar("R")

REPOSITORY = Path(__file__).resolve().parent.parent
MODULES = ("lcframework/roi", "lcframework/stars", "lcframework/sky", "lcframework/frames",
           "plugins_builtin/engine", "plugins_builtin/astrometry")  # fmt: skip
HARD = "tests/end_to_end/test_hard_campaign.py"
#: Tests beside those of the folder that mirrors a module's.
MORE_TESTS = {
    "lcframework/frames": ("tests/lcframework/stages",),
    "lcframework/roi": ("tests/lcframework/stages/test_prepare_calibrated_cutouts.py",),
    "plugins_builtin/astrometry": ("tests/plugins_builtin/solvers",),
    "plugins_builtin/engine/frames": ("tests/plugins_builtin/backgrounds", "tests/plugins_builtin/sources"),
    "plugins_builtin/engine/normalization": ("tests/plugins_builtin/normalizations",),
    "plugins_builtin/engine/psf": ("tests/plugins_builtin/psf_models",),
    "plugins_builtin/engine/roi": ("tests/plugins_builtin/roi_models",),
    "plugins_builtin/engine/stars": ("tests/plugins_builtin/photometry",),
}
_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "_build", "demo")
_PASSED, _FAILED, _NO_TESTS = 0, 1, 5


@attrs.frozen
class Verdict:
    """What became of a mutant."""

    mutation: Mutation
    killed_by: str  # the tests, or the timeout; empty: it survived
    seconds: float


def tests_of(path: Path) -> list[str]:
    """Return the tests that belong to a module, relative to the repository."""
    folder = path.parent
    mirrored = Path("tests") / folder
    while not (REPOSITORY / mirrored).is_dir():
        mirrored = mirrored.parent
    more = [t for prefix, tests in MORE_TESTS.items() if folder.is_relative_to(prefix) for t in tests]
    return [mirrored.as_posix(), *more, HARD]


def sample(modules: Iterable[str], seed: int, number: int) -> list[Mutation]:
    """Return a random sample of the mutations of all files in folders, or of single files."""
    every: list[Mutation] = []
    for module in modules:
        place = REPOSITORY / module
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            every += mutations(path.relative_to(REPOSITORY), path.read_text(encoding="utf-8"))
    return random.Random(seed).sample(every, min(number, len(every)))


def run_tests(copy: Path, tests: str, timeout: float) -> tuple[int | None, float]:
    """Return pytest's exit status, None after a timeout, and the seconds that it took."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", tests]
    begun = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        status: int | None = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, timeout=timeout, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        status = None
    return status, time.monotonic() - begun


class Copies:
    """Copies of the repository, each for one at a time."""

    def __init__(self, folder: Path, number: int) -> None:
        self._free: queue.Queue[Path] = queue.Queue()
        self.number = number
        for i in range(number):
            shutil.copytree(REPOSITORY, folder / f"copy{i}", ignore=_NOT_COPIED)
            self._free.put(folder / f"copy{i}")

    def each(self, work: Callable[[Path, T], R], things: Sequence[T]) -> list[R]:
        """Return what `work` makes of each thing in a copy, as many at a time as there are copies."""

        def one(thing: T) -> R:
            copy = self._free.get()
            try:
                return work(copy, thing)
            finally:
                self._free.put(copy)

        with ThreadPoolExecutor(self.number) as pool:
            return list(pool.map(one, things))


def unchanged(copies: Copies, tests: Sequence[str], timeout: float) -> dict[str, float]:
    """Return the seconds that tests take without a mutation.

    Raises
    ------
    SystemExit
        Where some fail already.
    """

    def seconds_of(copy: Path, name: str) -> float:
        status, seconds = run_tests(copy, name, timeout)
        if status not in (_PASSED, _NO_TESTS):
            raise SystemExit(f"{name} fails without a mutation: nothing can be learnt from it")
        print(f"{seconds:6.0f} s  {name}", flush=True)
        return seconds

    return dict(zip(tests, copies.each(seconds_of, tests), strict=True))


def judged(copy: Path, mutation: Mutation, seconds: dict[str, float]) -> Verdict:
    """Run the tests of a mutated module, the quickest first; a run that takes five times as long is a failure too."""
    path, begun = copy / mutation.path, time.monotonic()
    source = (REPOSITORY / mutation.path).read_text(encoding="utf-8")
    killer = ""
    try:
        path.write_text(mutation.applied(source), encoding="utf-8")
        for name in sorted(tests_of(mutation.path), key=lambda t: seconds[t]):
            status, _ = run_tests(copy, name, 60 + 5 * seconds[name])
            if status not in (_PASSED, _NO_TESTS):
                killer = name if status is not None else f"{name} (timeout)"
                break
    finally:
        path.write_text(source, encoding="utf-8")
    return Verdict(mutation, killer, time.monotonic() - begun)


def judge_all(copies: Copies, chosen: Sequence[Mutation], seconds: dict[str, float]) -> list[Verdict]:
    """Judge mutations, and print what becomes of each."""

    def judge(copy: Path, mutation: Mutation) -> Verdict:
        verdict = judged(copy, mutation, seconds)
        outcome = f"killed by {verdict.killed_by}" if verdict.killed_by else "SURVIVED"
        print(f"{verdict.seconds:6.0f} s  {mutation}  {outcome}", flush=True)
        return verdict

    return copies.each(judge, chosen)


def print_summary(verdicts: Sequence[Verdict]) -> None:
    """Print the share that was killed, and the survivors."""
    survivors = [v.mutation for v in verdicts if not v.killed_by]
    killed, number = len(verdicts) - len(survivors), len(verdicts)
    share = killed / number
    error = (share * (1 - share) / number) ** 0.5
    print(f"\n{killed} of {number} killed: {100 * share:.0f} +- {100 * error:.0f} %")
    for mutation in survivors:
        print(f"  survived: {mutation}")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mutants", type=int, default=20, help="size of the sample")
    parser.add_argument("--modules", nargs="+", default=MODULES, help="folders or files to change")
    parser.add_argument("--workers", type=int, default=1, help="mutants side by side")
    parser.add_argument("--timeout", type=float, default=1800.0, help="s, of tests without a mutation")
    options = parser.parse_args()
    if options.mutants < 1 or options.workers < 1:
        parser.error("--mutants and --workers must be at least 1")
    chosen = sample(options.modules, options.seed, options.mutants)
    if not chosen:
        parser.error("nothing to change in these modules")
    with tempfile.TemporaryDirectory(prefix="lcf-mutants-") as folder:
        copies = Copies(Path(folder), options.workers)
        seconds = unchanged(copies, sorted({t for m in chosen for t in tests_of(m.path)}), options.timeout)
        print_summary(judge_all(copies, chosen, seconds))


if __name__ == "__main__":
    main()
