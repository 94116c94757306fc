"""How seconds and peak memory of our runs grow with the number of frames.

    python benchmarks/scaling.py --frames 12 48 192

Each campaign is run in a new process with nothing but the compiled programs of a first run kept, plots included. Peak
memory is that of the process and of its largest worker (the kernel's maximum resident set). With the defaults, 12 and
48 frames of 1200 x 1200 pixels, it takes about 4 minutes on two cores, most of it the simulation; `--size 600` takes a
third of that. Campaigns in `--folder` are used again.
"""

from __future__ import annotations

import argparse
import tempfile
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
    first, last = runs[0]["runs"][model]["seconds"], runs[-1]["runs"][model]["seconds"]
    more = counts[-1] - counts[0]
    if more:
        print(f"\nms per added frame, from {counts[0]} to {counts[-1]} frames")
        for stage in last:
            print(f"  {stage:40}{1e3 * (last[stage] - first.get(stage, 0.0)) / more:8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[12, 48])
    parser.add_argument("--size", type=int, default=1200, help="pixels a side of a frame")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", default="starred", help="ROI model")
    parser.add_argument("--no-plots", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the campaigns are or go; default: a temporary folder")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="scaling_"))
    cache = folder / "jax"
    counts = sorted(set(options.frames))
    runs = []
    for count in counts:
        truth = campaign(folder / f"frames_{count}_{options.size}", count, options.seed, options.size)
        run_ours(truth, "compiling", cache, [options.model], plots=False)
        runs.append(run_ours(truth, "timed", cache, [options.model], plots=not options.no_plots))
        print(f"{count} frames: {runs[-1]['process']:.1f} s", flush=True)
    print_table(counts, runs, options.model)


if __name__ == "__main__":
    main()
