"""How often the doubt `unnamed_source` is raised without cause, and how often an image without a name is found.

    python benchmarks/unnamed_sources.py --skies 20 --models joint --psf fitted

Each sky is a simulated quad on its galaxy, other in every seed. It is fitted with the names of all images, where any
doubt is false; and without the name of each image in turn (`--left-out all`, or of the faintest alone), where the doubt
should give its place, within half of the seeing. Known PSFs, or those that are fitted to ten stars an epoch of
`--star-flux` times 1500 to 12000 e-/s, as in `roi_accuracy.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
from roi_accuracy import FLUXES, MODELS, with_fitted_psfs

from lcframework.roi.unnamed_sources import Unnamed, unnamed_sources
from lcframework.testing.regions import Truth, quad, simulate
from lcframework.types import Cutouts, PointSources
from plugins_builtin.psf_models.starred import Starred as StarredPsf


def skies(options: argparse.Namespace) -> Iterator[tuple[Cutouts, PointSources, Truth]]:
    """Yield what is fitted, and what is true of it."""
    for seed in range(options.first, options.first + options.skies):
        sky = quad(options.epochs, seed)
        cutouts, sources, truth = simulate(sky, seed)
        if options.psf == "fitted":
            strength = StarredPsf().regularization
            cutouts = with_fitted_psfs(sky, cutouts, seed, options.star_flux * FLUXES, False, strength)
        yield cutouts, sources, truth


def without(sources: PointSources, i: int) -> PointSources:
    """Return all sources but one."""
    rest = [j for j in range(len(sources.names)) if j != i]
    return PointSources(tuple(sources.names[j] for j in rest), sources.offset[rest])


def nearest(found: Sequence[Unnamed], place: np.ndarray) -> float:
    """Return how far the nearest of the found sources is from a place, arcsec."""
    return min((float(np.hypot(*(source.offset - place))) for source in found), default=np.inf)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--skies", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="seed of the first sky")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--models", nargs="+", default=["joint", "starred"])
    parser.add_argument("--psf", choices=("true", "fitted"), default="fitted")
    parser.add_argument("--star-flux", type=float, default=1.0)
    parser.add_argument("--left-out", choices=("none", "faintest", "all"), default="faintest")
    options = parser.parse_args()
    print("| model | skies with a false doubt | images left out | found | false beside them |\n|---|---|---|---|---|")
    for name in options.models:
        false, left_out, found, beside = 0, 0, 0, 0
        for cutouts, sources, truth in skies(options):
            false += bool(unnamed_sources(cutouts, MODELS[name].fit(cutouts, sources)))
            order = np.argsort(truth.flux.mean(axis=0))
            which = {"none": order[:0], "faintest": order[:1], "all": order}[options.left_out]
            for i in which.tolist():
                told = unnamed_sources(cutouts, MODELS[name].fit(cutouts, without(sources, i)))
                there = nearest(told, truth.offset[i]) < 0.5 * float(np.median(cutouts.seeing))
                left_out, found, beside = left_out + 1, found + there, beside + len(told) - there
        print(f"| {name} | {false} of {options.skies} | {left_out} | {found} | {beside} |", flush=True)


if __name__ == "__main__":
    main()
