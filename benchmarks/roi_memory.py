"""Peak memory and time of a ROI model over many epochs, run to the end.

    python benchmarks/roi_memory.py joint --epochs 1000
    python benchmarks/roi_memory.py starred --epochs 1000

Epochs are 32 x 32 px at subsampling 2. One model a process, and growing numbers of epochs (`--epochs 100 300 1000`):
the peak of a process does not come down again.
"""

from __future__ import annotations

import argparse
import resource
import time

from lcframework.testing.regions import quad, simulate
from plugins_builtin.roi_models.joint import Joint
from plugins_builtin.roi_models.starred import Starred

_MODELS = {"joint": Joint, "starred": Starred}


def peak() -> float:
    """Return the largest resident size that this process has had, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=_MODELS)
    parser.add_argument("--epochs", type=int, nargs="+", default=[1000])
    arguments = parser.parse_args()
    print("| model | epochs | peak GiB | before the fit | CPU s | s an epoch | status |")
    print("|---|---|---|---|---|---|---|")
    for epochs in sorted(arguments.epochs):
        measure(arguments.model, epochs)


def measure(model: str, epochs: int) -> None:
    """Fit, and print a row of the table."""
    cutouts, sources, _ = simulate(quad(epochs, 0), 0)
    before, start = peak(), time.process_time()
    fit = _MODELS[model]().fit(cutouts, sources)
    seconds = time.process_time() - start
    print(
        f"| {model} | {epochs} | {peak():.2f} | {before:.2f} | {seconds:.0f} "
        f"| {seconds / epochs:.2f} | {fit.status.state.value} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
