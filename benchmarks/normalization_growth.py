"""CPU time and peak memory of the normalization by number of frames, run to the end.

    python benchmarks/normalization_growth.py --frames 1000 10000

Stars of known levels in frames of known transparency, with noise and a twentieth of the fluxes missing. Growing numbers
of frames: the peak of a process does not come down again.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from lcframework.types import FluxMatrix
from plugins_builtin.normalizations.ensemble import Ensemble


def fluxes(frames: int, stars: int) -> FluxMatrix:
    """Return simulated fluxes, e-/s."""
    rng = np.random.default_rng(1)
    transparency = np.exp(0.2 * rng.standard_normal(frames))[:, None]
    level = 10 ** rng.uniform(2.5, 4.5, stars)
    error = np.sqrt(level * transparency) + 5.0
    flux = transparency * level * (1.0 + 0.003 * rng.standard_normal((frames, stars)))
    flux += error * rng.standard_normal(flux.shape)
    flux[rng.random(flux.shape) < 0.05] = np.nan
    places = np.broadcast_to(rng.uniform(0, 1000, (stars, 2)), (frames, stars, 2)).copy()
    return FluxMatrix(flux, error, places, (1000, 1000))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--stars", type=int, default=60)
    arguments = parser.parse_args()
    print("| frames | CPU, s | ms a frame | peak, MiB | status |")
    print("|---|---|---|---|---|")
    for frames in sorted(arguments.frames):
        given, start = fluxes(frames, arguments.stars), time.process_time()
        solution = Ensemble().solve(given)
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(
            f"| {frames} | {seconds:.1f} | {1e3 * seconds / frames:.2f} | {peak:.0f} | {solution.status.state.value} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
