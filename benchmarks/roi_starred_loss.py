"""Our value of STARRED's objective for a region beside what STARRED's own optimisers reach, from four starts.

    python benchmarks/roi_starred_loss.py --seeds 2 --epochs 12

Data, masks, weights, priors and kernels are the same in both; STARRED's `Loss` computes all values. The starts: no
background; a Sersic fit; the documented two steps (fluxes and translations without a background, then everything); our
own solution. Each optimiser has ten times the CPU time of our whole fit, its compilation not counted.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

from lcframework.testing.regions import Truth, quad, simulate
from lcframework.types import Cutouts, PointSources
from plugins_builtin.engine.roi.geometry import prepare
from plugins_builtin.engine.roi.penalties import Strengths, Values
from plugins_builtin.engine.roi.starlet_objective import StarletObjective
from plugins_builtin.engine.roi.starred_fit import Run, Solution, StarredSettings, fit_starred

_RATE = 1e-3  # of adabelief
_TRIAL = 50  # iterations; three times as many tell what one costs beside compilation


@attrs.frozen
class Reached:
    """Where an optimiser of STARRED's ended."""

    loss: float
    seconds: float
    iterations: int


class Theirs:
    """STARRED's loss and parameters for the problem that an objective of ours is."""

    def __init__(self, objective: StarletObjective, values: Values, strengths: Strengths) -> None:
        """Take the problem, where to start, and the strengths."""
        import jax.numpy as jnp
        from starred.deconvolution.deconvolution import Deconv
        from starred.deconvolution.loss import Loss, Prior
        from starred.deconvolution.parameters import ParametersDeconv

        self.objective, self.unit = objective, objective.unit
        epochs = objective.epochs
        model = Deconv(epochs.shape[0], len(values.c), 1.0, epochs.subsampling, len(epochs), epochs.kernels,
                       convolution_method="scipy")  # fmt: skip
        self.start = {n: {k: jnp.array(v) for k, v in g.items()} for n, g in self.keywords(values).items()}
        fixed = {
            "kwargs_analytic": {"alpha": self.start["kwargs_analytic"]["alpha"]},
            "kwargs_background": {},
            "kwargs_sersic": self.start["kwargs_sersic"],
        }
        wide = {n: {k: np.full(np.shape(v), 1e9) for k, v in g.items()} for n, g in self.start.items()}
        low = {n: {k: -v for k, v in g.items()} for n, g in wide.items()}
        self.parameters = ParametersDeconv(self.start, fixed, wide, low)
        priors = objective.penalties.priors
        terms = [[f"d{a}", priors.translation[:, i], priors.translation_sigma[:, i]] for i, a in enumerate("xy")]
        if np.isfinite(priors.c_sigma).all():
            terms += [[f"c_{a}", priors.c[:, i], priors.c_sigma[:, i]] for i, a in enumerate("xy")]
        iv = objective.inverse_variance
        variance = np.where(iv > 0, 1 / np.where(iv > 0, iv, 1.0), 1e20) / self.unit**2
        weights = objective.penalties.weights * self.unit
        self.loss = Loss(
            jnp.array(epochs.data / self.unit), model, self.parameters, jnp.array(variance),
            regularization_strength_scales=strengths.scales,
            regularization_strength_hf=strengths.high_frequency,
            regularization_strength_positivity=strengths.positivity,
            regularization_strength_pts_source=strengths.point_sources,
            regularization_strength_flux_uniformity=strengths.flux_scatter,
            W=jnp.array(np.concatenate([weights, weights[:1]])), prior=Prior(prior_analytic=terms),
        )  # fmt: skip

    def keywords(self, values: Values) -> dict[str, Any]:
        """Return values as STARRED's."""
        unit, s = self.unit, self.objective.alignment.subsampling
        analytic = {
            "c_x": values.c[:, 0], "c_y": values.c[:, 1],
            "dx": values.translation[:, 0], "dy": values.translation[:, 1],
            "alpha": self.objective.alignment.alpha, "a": values.flux.ravel() / unit,
        }  # fmt: skip
        return {
            "kwargs_analytic": analytic,
            "kwargs_background": {"h": values.h.ravel() / unit, "mean": values.sky / s**2 / unit},
            "kwargs_sersic": {n: [] for n in ("amp", "R_sersic", "n_sersic", "center_x", "center_y", "e1", "e2")},
        }

    def value(self, arguments: Any = None) -> float:
        """Return STARRED's loss, by default at the start."""
        return float(self.loss(self.parameters.kwargs2args(self.start) if arguments is None else arguments))

    def optimise(self, method: str, seconds: float) -> Reached:
        """Return what STARRED's optimiser reaches in about so much CPU time; the start where it only gets worse."""
        self._minimise(method, _TRIAL)
        short, long = (self._minimise(method, n * _TRIAL) for n in (1, 3))
        iterations = max(int(seconds * 2 * _TRIAL / max(long - short, 1e-3)), _TRIAL)
        spent = self._minimise(method, iterations)
        reached = self.value(self.parameters.best_fit_values(as_kwargs=False))
        return Reached(min(reached, self.value()), spent, iterations)

    def _minimise(self, method: str, iterations: int) -> float:
        """Run an optimiser from the start; return the CPU time it took."""
        from starred.optim.optimization import Optimizer

        options: dict[str, Any] = {"maxiter": iterations}
        if method == "adabelief":
            options = {"max_iterations": iterations, "init_learning_rate": _RATE, "progress_bar": False}
        began = time.process_time()
        Optimizer(self.loss, self.parameters, method=method).minimize(restart_from_init=True, **options)
        return time.process_time() - began


def starts(solution: Solution, sersic: Values) -> dict[str, Values]:
    """Return the four starts."""
    values = solution.values
    nothing = attrs.evolve(
        sersic, h=np.zeros_like(values.h), translation=solution.alignment.translation, flux=1.2 * sersic.flux
    )
    return {"no background": nothing, "Sersic fit": sersic, "two steps": two_steps(solution, nothing), "ours": values}


def two_steps(solution: Solution, nothing: Values) -> Values:
    """Return where the documented first step ends: fluxes and translations alone, the scatter of fluxes held down."""
    objective = solution.objective
    bare = StarletObjective(
        objective.epochs, objective.alignment, objective.inverse_variance, objective.penalties.weights,
        Strengths(0, 0, 0, 0, 1.0), objective.penalties.priors,
    )  # fmt: skip
    return Run(bare, solution.joint).minimise(nothing, ("flux", "translation"), 300, (0.0,))


def compare(scene: tuple[Cutouts, PointSources, Truth]) -> Iterator[tuple[str, str, float, float, int]]:
    """Yield (start, optimiser, loss above ours, CPU seconds, iterations); ours first, with its loss."""
    cutouts, sources, _ = scene
    data = prepare(cutouts, sources)
    began = time.process_time()
    solution = fit_starred(data, sources.offset, StarredSettings(exact=False, sky_prior=0.0))
    seconds = time.process_time() - began
    sersic = fit_starred(data, sources.offset, StarredSettings(iterations_all=0, exact=False, sky_prior=0.0)).values
    strengths = Strengths()
    ours = Theirs(solution.objective, solution.values, strengths).value()
    yield "joint fit", "ours", ours, seconds, solution.evaluations
    for name, start in starts(solution, sersic).items():
        for method in ("adabelief", "l-bfgs-b"):
            theirs = Theirs(solution.objective, start, strengths).optimise(method, 10 * seconds)
            yield name, method, theirs.loss - ours, theirs.seconds, theirs.iterations


def main() -> None:
    """Print one table a seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| sky | start | optimiser | loss above ours | CPU s | iterations allowed |")
    print("|---|---|---|---|---|---|")
    for seed in range(arguments.seeds):
        rows = compare(simulate(quad(arguments.epochs, seed), seed))
        for row, (start, method, value, seconds, iterations) in enumerate(rows):
            shown = f"({value:.2f})" if row == 0 else f"{value:+.2f}"
            print(f"| {seed} | {start} | {method} | {shown} | {seconds:.1f} | {iterations} |", flush=True)


if __name__ == "__main__":
    main()
