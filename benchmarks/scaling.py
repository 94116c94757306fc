"""How seconds and peak memory of our runs grow with the number of frames.

    python benchmarks/scaling.py --frames 12 48 192

Each campaign is run in a new process with nothing but the compiled programs of a first run kept, plots included. Peak
memory is that of the process and of its largest worker (the kernel's maximum resident set). What is measured is kept in
`--folder`: started again, it goes on where it was stopped; after a change of the code name another. On two quiet cores
a frame of 1200 x 1200 pixels takes about half a second to simulate, and half a second in each of the two runs: about 6
minutes for the command above.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import pairwise
from pathlib import Path

from campaigns import campaign, run_ours


def print_table(counts: list[int], runs: list[dict], model: str) -> None:
    """Print seconds and memory of each, and what each added frame costs over the run before."""
    heads = ("stages", "a frame", "process", "CPU", "peak", "a frame", "worker", "a frame")
    units = ("s", "s", "s", "s", "MiB", "MiB", "MiB", "MiB")
    print("\nframes " + "".join(f"{h:>10}" for h in heads))
    print("       " + "".join(f"{u:>10}" for u in units))
    rows = [(sum(r["runs"][model]["seconds"].values()), r["process"], r["cpu"]) for r in runs]
    for i, (count, (stages, process, cpu), run) in enumerate(zip(counts, rows, runs, strict=True)):
        added = [f"{'-':>10}"] * 3
        if i:
            more = count - counts[i - 1]
            differences = [stages - rows[i - 1][0], *(run[k] - runs[i - 1][k] for k in ("peak_mib", "peak_worker_mib"))]
            added = [f"{d / more:10.3f}" for d in differences]
        figures = f"{stages:10.1f}{added[0]}{process:10.1f}{cpu:10.1f}"
        print(f"{count:6} {figures}{run['peak_mib']:10.0f}{added[1]}{run['peak_worker_mib']:10.0f}{added[2]}")
    print_stages(counts, runs, model)


def print_stages(counts: list[int], runs: list[dict], model: str) -> None:
    """Print what a frame adds to each stage, from each count to the next: it grows where a stage is not linear."""
    pairs = list(pairwise(range(len(counts))))
    if not pairs:
        return
    print("\nms per added frame, wall and CPU")
    print(f"  {'':40}" + "".join(f"{f'{counts[i]} to {counts[j]}':>20}" for i, j in pairs))
    mine = [run["runs"][model] for run in runs]
    for stage in mine[-1]["seconds"]:
        figures = ""
        for i, j in pairs:
            for kind in ("seconds", "cpu"):
                more = mine[j][kind].get(stage, 0.0) - mine[i][kind].get(stage, 0.0)
                figures += f"{1e3 * more / (counts[j] - counts[i]):10.1f}"
        print(f"  {stage:40}{figures}", flush=True)


def outcome_name(count: int, options: argparse.Namespace) -> str:
    """Return the file of what was measured, by everything that changes it but the code."""
    varied = "_no_plots" * options.no_plots + "_no_compiling" * options.no_compiling
    return f"outcome_{count}_{options.size}_seed{options.seed}_{options.model}{varied}.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[12, 48])
    parser.add_argument("--size", type=int, default=1200, help="pixels a side of a frame")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", default="starred", help="ROI model")
    parser.add_argument("--no-plots", action="store_true")
    parser.add_argument("--no-compiling", action="store_true", help="no run before each that is timed")
    parser.add_argument("--folder", type=Path, help="where the campaigns are or go; default: a temporary folder")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="scaling_"))
    cache = folder / "jax"
    counts = sorted(set(options.frames))
    runs = []
    for count in counts:
        kept = folder / outcome_name(count, options)
        if not kept.exists():
            place = folder / f"frames_{count}_{options.size}_seed{options.seed}"
            truth = campaign(place, count, options.seed, options.size)
            if not options.no_compiling:
                run_ours(truth, "compiling", cache, [options.model], plots=False)
            timed = run_ours(truth, "timed", cache, [options.model], plots=not options.no_plots)
            kept.write_text(json.dumps(timed))
        runs.append(json.loads(kept.read_text()))
        print(f"{count} frames: {runs[-1]['process']:.1f} s, {runs[-1]['cpu']:.1f} s of CPU", flush=True)
        print_table(counts[: len(runs)], runs, options.model)


if __name__ == "__main__":
    main()
