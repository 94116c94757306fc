"""How many small mistakes in the numerics the tests notice.

    python benchmarks/mutation_testing.py --seed 1 --mutants 500 --workers 2 --folder mutants

First all tests run once, and which lines each of them runs is recorded: half an hour on two cores. Then a random sample
of changes (a plus for a minus, a constant doubled, a `not` left out) is applied one at a time to a copy of the
repository, and the tests that run the changed line run, the quickest first, until one fails or those of `--budget`
seconds have passed. Printed are the share of mutants that were killed, with its standard error, and those that
survived; some of these change nothing that matters. A sample of one seed and size is the same as long as the modules
are. What is known stays in `--folder`: started again, it goes on where it was stopped. Name another after a change.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
from covering_tests import LINES, SECONDS, Covering, Group
from mutations import Mutation, mutations

REPOSITORY = Path(__file__).resolve().parent.parent
MODULES = ("lcframework/roi", "lcframework/stars", "lcframework/sky", "lcframework/frames",
           "plugins_builtin/engine", "plugins_builtin/astrometry")  # fmt: skip
TESTS = ("tests/lcframework", "tests/plugins_builtin", "tests/end_to_end")
_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "_build", "demo")
_PYTEST = ("-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider")
_PASSED, _NO_TESTS = 0, 5


@attrs.frozen
class Verdict:
    """What became of a mutant.

    Attributes
    ----------
    mutation : str
        The place and the change.
    outcome : str
        "killed", "timeout", "survived", or "unseen" where no test runs the line.
    tests, left_out : int
        How many tests ran at most, and how many the budget left out.
    seconds : float
        What it took.
    """

    mutation: str
    outcome: str
    tests: int
    left_out: int
    seconds: float

    @property
    def killed(self) -> bool:
        """Whether the tests noticed it."""
        return self.outcome in ("killed", "timeout")


def sample(modules: Iterable[str], seed: int, number: int) -> list[Mutation]:
    """Return a random sample of the mutations of all files in folders, or of single files."""
    every: list[Mutation] = []
    for module in modules:
        place = REPOSITORY / module
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            every += mutations(path.relative_to(REPOSITORY), path.read_text(encoding="utf-8"))
    return random.Random(seed).sample(every, min(number, len(every)))


def environment(tree: Path, folder: Path) -> dict[str, str]:
    """Return the environment of tests of a copy: its own modules, and programs that JAX compiled for all."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tree), str(REPOSITORY / "benchmarks")]),
        "PYTHONPYCACHEPREFIX": str(folder / "compiled" / tree.name),
        "JAX_COMPILATION_CACHE_DIR": str(folder / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "OMP_NUM_THREADS": "1",
        "COVERAGE_FILE": str(folder / LINES),
    }


def record(folder: Path, modules: Sequence[str], tests: Sequence[str], workers: int) -> None:
    """Run all tests of the repository as it is, and record which lines they run.

    Raises
    ------
    SystemExit
        Where tests fail.
    """
    lines = [f"--cov={REPOSITORY / module}" for module in modules]
    command = [sys.executable, *_PYTEST, "-p", "covering_tests", "--record-lines", str(folder),
               "--cov-context=test", "--cov-report=", *lines, "-n", str(workers), *tests]  # fmt: skip
    subprocess.run(command, cwd=REPOSITORY, env=environment(REPOSITORY, folder), check=False)


def within(groups: Sequence[Group], budget: float) -> list[Group]:
    """Return the quickest of the tests, as many as `budget` seconds hold, and at least one."""
    chosen, seconds = [], 0.0
    for group in groups:
        seconds += group.seconds
        if chosen and seconds > budget:
            break
        chosen.append(group)
    return chosen


def noticed(copy: Path, groups: Sequence[Group], folder: Path) -> str:
    """Run tests in a copy, one after the other until one fails; return what became of its mutant."""
    timeout = 60 + 5 * sum(g.seconds for g in groups)
    names = copy / "chosen_tests.txt"
    names.write_text("\n".join(t for g in groups for t in g.tests))
    command = [sys.executable, *_PYTEST, "-x", f"@{names}"]
    try:
        status = subprocess.run(
            command, cwd=copy, env=environment(copy, folder), capture_output=True, timeout=timeout, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        return "timeout"
    return "survived" if status in (_PASSED, _NO_TESTS) else "killed"


@attrs.frozen
class Judge:
    """Judges mutants in copies of the repository, each for one at a time, and notes the verdicts in a folder."""

    covering: Covering
    copies: queue.Queue[Path]
    folder: Path
    budget: float

    def verdict(self, mutation: Mutation) -> Verdict:
        """Return what became of a mutant, and print it; what is known is not asked again."""
        place = self.folder / "verdicts" / f"{mutation.identity}.json"
        if place.exists():
            return Verdict(**json.loads(place.read_text()))
        copy = self.copies.get()
        try:
            verdict = self._judged(copy, mutation)
        finally:
            self.copies.put(copy)
        place.write_text(json.dumps(attrs.asdict(verdict)))
        print(f"{verdict.seconds:6.0f} s  {verdict.outcome:8}  {mutation}", flush=True)
        return verdict

    def _judged(self, copy: Path, mutation: Mutation) -> Verdict:
        path, begun = copy / mutation.path, time.monotonic()
        source = (REPOSITORY / mutation.path).read_text(encoding="utf-8")
        groups = self.covering.groups(mutation.path, mutation.line, source)
        chosen = within(groups, self.budget)
        outcome = "unseen"
        try:
            path.write_text(mutation.applied(source), encoding="utf-8")
            if chosen:
                outcome = noticed(copy, chosen, self.folder)
        finally:
            path.write_text(source, encoding="utf-8")
        tests, every = (sum(len(g.tests) for g in found) for found in (chosen, groups))
        return Verdict(str(mutation), outcome, tests, every - tests, time.monotonic() - begun)


def judge_all(folder: Path, chosen: Sequence[Mutation], workers: int, budget: float) -> list[Verdict]:
    """Return the verdicts on mutants, judged side by side."""
    covering = Covering.read(folder, REPOSITORY)
    (folder / "verdicts").mkdir(exist_ok=True)
    copies: queue.Queue[Path] = queue.Queue()
    with tempfile.TemporaryDirectory(prefix="lcf-mutants-") as place, ThreadPoolExecutor(workers) as pool:
        for i in range(workers):
            shutil.copytree(REPOSITORY, Path(place, f"copy{i}"), ignore=_NOT_COPIED)
            copies.put(Path(place, f"copy{i}"))
        return list(pool.map(Judge(covering, copies, folder, budget).verdict, chosen))


def print_summary(verdicts: Sequence[Verdict]) -> None:
    """Print the share that was killed, and the survivors."""
    survivors = [v for v in verdicts if not v.killed]
    killed, number = len(verdicts) - len(survivors), len(verdicts)
    share = killed / number
    error = (share * (1 - share) / number) ** 0.5
    print(f"\n{killed} of {number} killed: {100 * share:.1f} +- {100 * error:.1f} %")
    for v in survivors:
        left_out = f" ({v.left_out} slower ones did not run)" if v.left_out else ""
        print(f"  {v.outcome} {v.tests} tests{left_out}: {v.mutation}")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mutants", type=int, default=50, help="size of the sample")
    parser.add_argument("--modules", nargs="+", default=MODULES, help="folders or files to change")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="folders or files of tests")
    parser.add_argument("--workers", type=int, default=2, help="mutants, or tests, side by side")
    parser.add_argument("--budget", type=float, default=60.0, help="s of tests for a mutant")
    parser.add_argument("--folder", type=Path, help="where all goes; default: a temporary folder")
    options = parser.parse_args()
    if options.mutants < 1 or options.workers < 1:
        parser.error("--mutants and --workers must be at least 1")
    chosen = sample(options.modules, options.seed, options.mutants)
    if not chosen:
        parser.error("nothing to change in these modules")
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="mutants_"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / SECONDS).exists():
        record(folder, options.modules, options.tests, options.workers)
    print_summary(judge_all(folder, chosen, options.workers, options.budget))


if __name__ == "__main__":
    main()
