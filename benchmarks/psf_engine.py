"""How long PSFs take: the built-in solver, cold and warm, against STARRED's own routine.

    python benchmarks/psf_engine.py --reference 2
    python benchmarks/psf_engine.py --device gpu --frames 1000

Seconds include the preparation of frames and the transfers to the device and back. `--cache FOLDER` keeps compiled
programs there: the second call shows a start with a full cache. Run it on a quiet machine. Losses of both are compared
in tests/plugins_builtin/psf_models/test_against_starred.py.
"""

from __future__ import annotations

import argparse
import os
import time

import attrs
import numpy as np

from lcframework.testing.psf_scenes import simulate_stars
from plugins_builtin.psf_models.starred import Starred
from plugins_builtin.psf_models.starred_reference import StarredReference


def timed(function, *arguments):
    """Return the answer, seconds on the clock and seconds of CPU."""
    clock, processor = time.perf_counter(), time.process_time()
    answer = function(*arguments)
    return answer, time.perf_counter() - clock, time.process_time() - processor


def report(name, psfs, clock, processor):
    count = len(psfs)
    print(f"{name:28} {1e3 * clock / count:9.1f} ms/frame {1e3 * processor / count:9.1f} ms/frame CPU", end="")
    evaluations = np.mean([psf.status.evaluations for psf in psfs])
    chi2 = np.mean([psf.reduced_chi2 for psf in psfs])
    print(f" {count / clock:7.1f} frames/s {evaluations:7.0f} evaluations   chi2 {chi2:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--stars", type=int, default=10)
    parser.add_argument("--size", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5, help="warm repetitions, of which the fastest counts")
    parser.add_argument("--distortion", action="store_true")
    parser.add_argument("--reference", type=int, default=0, help="frames to give to STARRED (12 s each)")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--cache", default="", help="folder for compiled programs")
    options = parser.parse_args()
    # Before anything imports JAX.
    if options.device != "auto":
        os.environ["JAX_PLATFORMS"] = {"cpu": "cpu", "gpu": "cuda"}[options.device]
    if options.cache:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = options.cache
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
    batch = simulate_stars(options.frames, options.stars, options.size, seed=1).batch

    import jax

    _, clock, _ = timed(lambda: jax.jit(lambda x: x + 1)(1.0).block_until_ready())
    print(f"{jax.default_backend()}; JAX itself started in {clock:.2f} s")
    starred = Starred(field_distortion=options.distortion)
    print(starred.frames_at_once(options.stars, options.size)[1])
    _, clock, processor = timed(starred.fit, batch)
    print(f"cold, with compilation: {clock:.2f} s, {processor:.2f} s of CPU for {options.frames} frames")
    report("warm", *min((timed(starred.fit, batch) for _ in range(options.repeats)), key=lambda run: run[1]))
    for bound in (20, 40, 60, 100):
        short = attrs.evolve(starred, iterations_pixels=bound)
        runs = (timed(short.fit, batch) for _ in range(options.repeats))
        report(f"warm, iterations_pixels = {bound}", *min(runs, key=lambda run: run[1]))
    if options.reference:
        names = ("data", "noise", "mask", "xy", "offset", "seeing")
        few = attrs.evolve(batch, **{name: getattr(batch, name)[: options.reference] for name in names})
        report("STARRED", *timed(StarredReference(field_distortion=options.distortion).fit, few))


if __name__ == "__main__":
    main()
