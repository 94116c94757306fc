"""Peak memory and time of a ROI model over many epochs, run to the end.

    python benchmarks/roi_memory.py joint --epochs 1000
    python benchmarks/roi_memory.py starred --epochs 1000

Epochs are 32 x 32 px at subsampling 2. One model a process: the peak of a process does not come down again.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from lcframework.testing.regions import quad, simulate
from plugins_builtin.roi_joint import Joint
from plugins_builtin.roi_starred import Starred

_MODELS = {"joint": Joint, "starred": Starred}


def peak() -> float:
    """Return the largest resident size that this process has had, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Fit, and print a row of a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=_MODELS)
    parser.add_argument("--epochs", type=int, default=1000)
    arguments = parser.parse_args()
    cutouts, sources, truth = simulate(quad(arguments.epochs, 0), 0)
    before, start = peak(), time.process_time()
    fit = _MODELS[arguments.model]().fit(cutouts, sources)
    seconds = time.process_time() - start
    error = np.sqrt(np.einsum("ekk->ek", fit.covariance))
    pull = float(np.std((fit.flux - truth.flux) / error))
    print("| model | epochs | peak GiB | before the fit | CPU s | s an epoch | pull | status |")
    print("|---|---|---|---|---|---|---|---|")
    print(
        f"| {arguments.model} | {arguments.epochs} | {peak():.2f} | {before:.2f} | {seconds:.0f} "
        f"| {seconds / arguments.epochs:.2f} | {pull:.2f} | {fit.status.state.value} |"
    )


if __name__ == "__main__":
    main()
