"""The command ``lcf transit``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from lcframework.hookspecs import hookimpl

if TYPE_CHECKING:
    from lcf_transit.results import Fitted


class _Number(click.ParamType):  # type: ignore[type-arg]
    """A value with an error: 6.05, which is exact, or 6.05,0.05."""

    name = "value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Return the value and its error, 0 where there is none."""
        if isinstance(value, tuple):
            return value
        try:
            number, _, error = value.partition(",")
            found = (float(number), float(error or 0.0))
        except ValueError:
            self.fail(f'"{value}" is no number: write VALUE or VALUE,ERROR', param, ctx)
        if not np.isfinite(found).all() or found[1] < 0:
            self.fail(f'"{value}": both must be finite, and the error not negative', param, ctx)
        return found


def _known(name: str, text: str, required: bool = False) -> Callable[[Any], Any]:
    return click.option(f"--{name}", type=_Number(), metavar="VALUE[,ERROR]", required=required, help=text)


@click.command("transit")
@click.argument("project", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_known("period", "Orbital period, d.", required=True)
@_known("epoch", "Mid-time of any transit, BJD_TDB.", required=True)
@_known("a-rs", "Semi-major axis in stellar radii.")
@_known("inclination", "Degrees; or --impact.")
@_known("impact", "Impact parameter.")
@_known("rp-rs", "Radius of the planet in stellar radii; without an error it is where the fit begins.")
@_known("u1", "Linear limb darkening.")
@_known("u2", "Quadratic limb darkening.")
@click.option("--roi", help="The region; the first if left out.")
@click.option("--source", help="The star; the region's first if left out.")
@click.option("--band", help="Of these frames alone; needed where there are several.")
@click.option("--instrument", help="Of these frames alone; needed where there are several.")
@click.option("--number", type=int, help="Which transit, counted from --epoch; the one with most epochs if left out.")
@click.option("--window", default=6.0, show_default=True, type=click.FloatRange(0.5), help="Hours before and after.")
@click.option("--term", "terms", multiple=True, help="Let the baseline have only these: time, time2, airmass, ...")
@click.option("--steps", default=2000, show_default=True, type=click.IntRange(100), help="Steps of the sampling.")
@click.option("--seed", default=1, show_default=True, help="Random seed of the sampling.")
def command(project: Path, steps: int, seed: int, **options: Any) -> None:
    """Fit a transit in a light curve of PROJECT: mid-time, radius, O-C, with errors that know correlated noise."""
    from lcf_transit.of_project import fit
    from lcf_transit.results import write
    from lcframework import Project

    opened = Project.open(project)
    fitted = fit(opened, steps, seed, **options)
    paths = write(opened.workdir, fitted)
    _print(fitted)
    for path in paths:
        click.echo(str(path))


def _print(fitted: Fitted) -> None:
    """Print the numbers that are published, and by what they are."""
    from lcf_transit.results import as_json, curves_of

    found = as_json(fitted, curves_of(fitted))

    def line(label: str, name: str, digits: int, more: str = "") -> None:
        one = found[name]
        click.echo(f"{label:<22}{one['value']:.{digits}f} +- {one['error']:.{digits}f}{more}")

    line("mid-time (BJD_TDB)", "mid_time_bjd_tdb", 5)
    error = found["o_minus_c_minutes"]["prediction_error"]
    line("O-C (min)", "o_minus_c_minutes", 2, f"; the prediction is good to {error:.2f}" if error else "")
    line("Rp/Rs", "rp_rs", 4)
    line("a/Rs", "a_rs", 3)
    line("impact parameter", "b", 3)
    line("inclination (deg)", "inclination_deg", 2)
    line("duration (h)", "duration_hours", 3)
    rest, sampling = found["residuals"], found["sampling"]
    averaged = [
        f"{', '.join(one['terms']) or 'a constant'} ({one['weight']:.0%})" for one in found["detrending"]["averaged"]
    ]
    click.echo(f"{'baselines':<22}{'; '.join(averaged)}")
    click.echo(f"{'residuals':<22}{1000 * rest['scatter']:.2f} ppt, stated {1000 * rest['stated_error']:.2f}, "
               f"beta {rest['beta']:.2f}; {rest['points']} points, {rest['clipped']} left out")  # fmt: skip
    line("correlated noise", "red_noise", 5, f" over {found['red_noise_minutes']['value']:.0f} min")
    if sampling["steps"] < 30 * sampling["autocorrelation_steps"]:
        click.echo(f"The samples hang together over {sampling['autocorrelation_steps']:.0f} steps: errors are good to "
                   "some 10 % only. Take more --steps")  # fmt: skip


@hookimpl
def lcf_commands() -> dict[str, click.Command]:
    """Offer the command. Its entry point is called command.transit, from which `lcf --help` knows it."""
    return {"transit": command}
