"""Reference stars after the normalization: scatter against the photon limit, and pulls, as a table and a histogram.

    python benchmarks/star_pulls.py campaign/project.toml
    python benchmarks/star_pulls.py --simulate folder --frames 40 --size 800 --seed 1

The project must be run as far as the normalization; `--simulate` makes a campaign and runs it (a few minutes). A star's
limit is the median error of its flux by photon statistics; the aim is a scatter within 1.2 times that plus 1 mmag.
Pulls are residuals over what they should be, with the star's intrinsic scatter ("all") and from the fluxes' errors
alone ("photons"). In a simulated campaign stars are also compared with the true fluxes; their limit is the Cramer-Rao
bound, and errors hold what those of a light curve hold.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from campaigns import campaign
from sqlmodel import select

from lcframework.project import Project
from lcframework.storage.tables import Frame, NormalizationCoefficient, Star, StarFlux, StarLevel, StarResidual
from lcframework.testing.campaign import CampaignTruth, read_truth

MILLIMAG = 2500 / np.log(10)
SLACK, ALLOWED = 1.2, 1.0  # times the limit, and mmag on top
KEY = ("combined_footprint_hash", "instrument", "band", "gaia_id")


def scatter(values: np.ndarray) -> float:
    """Return the standard deviation about the mean, mmag."""
    return float(MILLIMAG * np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def histogram(pull: np.ndarray, label: str) -> None:
    """Print a pull's moments and its histogram beside that of a unit normal."""
    edges = np.arange(-4.5, 5.0)
    counts, _ = np.histogram(np.clip(pull, -4.4, 4.4), edges)
    middle = (edges[1:] + edges[:-1]) / 2
    normal = np.exp(-(middle**2) / 2)
    normal *= len(pull) / normal.sum()
    robust = 1.4826 * np.median(np.abs(pull - np.median(pull)))
    print(f"\npulls, {label}: {len(pull)}, mean {pull.mean():+.2f}, sd {pull.std():.2f} (by MAD {robust:.2f})")
    for value, count, due in zip(middle, counts, normal, strict=True):
        print(f"  {value:+.0f} {count:6d} {due:8.1f}  {'#' * round(60 * count / max(counts.max(), 1))}")


def table(project: Project) -> None:
    """Print what the project itself knows of its stars."""
    with project.session() as session:
        names = {(s.combined_footprint_hash, s.gaia_id): s.name for s in session.exec(select(Star))}
        levels = list(session.exec(select(StarLevel)))
        coefficients = {
            (c.combined_footprint_hash, c.frame_id): c for c in session.exec(select(NormalizationCoefficient))
        }
        fluxes = {(f.combined_footprint_hash, f.frame_id, f.gaia_id): f for f in session.exec(select(StarFlux))}
        residuals = list(session.exec(select(StarResidual)))
    if not residuals:
        raise SystemExit("the project has no normalised stars yet: lcf run it as far as the normalization")
    print("| star | frames | left out | limit, mmag | scatter, mmag | within the aim | intrinsic, mmag | pull, all |")
    print("|---|---|---|---|---|---|---|---|")
    every, photons, inside = [], [], []
    for level in sorted(levels, key=lambda r: -r.level):
        mine = [r for r in residuals if all(getattr(r, k) == getattr(level, k) for k in KEY)]
        own = [r for r in mine if r.used]
        if len(own) < 3:
            continue
        field = level.combined_footprint_hash
        stated = np.array([fluxes[field, r.frame_id, r.gaia_id].flux_uncertainty for r in own])
        stated /= level.level * np.array([coefficients[field, r.frame_id].coefficient for r in own])
        value, error = (np.array([getattr(r, n) for r in own]) for n in ("residual", "residual_error"))
        limit = float(MILLIMAG * np.median(stated))
        found = scatter(value)
        inside.append(found <= SLACK * limit + ALLOWED)
        every.append(value / error)
        # What the means took of the residual's variance is taken here as well.
        photons.append(every[-1] * np.hypot(stated, level.intrinsic_scatter) / stated)
        print(
            f"| {names[field, level.gaia_id]} | {len(own)} | {len(mine) - len(own)} | {limit:.1f} | {found:.1f} "
            f"| {'yes' if inside[-1] else 'no'} | {MILLIMAG * level.intrinsic_scatter:.1f} | {every[-1].std():.2f} |"
        )
    print(f"\n{sum(inside)} of {len(inside)} stars within {SLACK} times the limit plus {ALLOWED} mmag")
    extra = MILLIMAG * np.array([c.extra_scatter for c in coefficients.values()])
    print(f"scatter beyond errors: {np.median(extra):.1f} ({extra.min():.1f} to {extra.max():.1f}) mmag")
    histogram(np.concatenate(every), "all")
    histogram(np.concatenate(photons), "photons")


def against_truth(project: Project, truth: CampaignTruth) -> None:
    """Print stars' normalised fluxes against the true ones."""
    with project.session() as session:
        names = {f.id: Path(f.original_image_path).name for f in session.exec(select(Frame))}
        coefficients = {
            (c.combined_footprint_hash, c.frame_id): c for c in session.exec(select(NormalizationCoefficient))
        }
        fluxes = list(session.exec(select(StarFlux)))
        residuals = list(session.exec(select(StarResidual)))
    used = {(r.combined_footprint_hash, r.frame_id, r.gaia_id) for r in residuals if r.used}
    true = {(str(r["frame"]), str(r["name"])): r for r in truth.fluxes}
    rows = []
    for f in fluxes:
        c, row = coefficients.get((f.combined_footprint_hash, f.frame_id)), true.get((names[f.frame_id], f.gaia_id))
        if c is None or row is None:
            continue
        ratio = f.flux / c.coefficient / row["flux"]
        own = (f.flux_uncertainty / f.flux) ** 2 + c.extra_scatter**2
        mean = (c.coefficient_uncertainty / c.coefficient) ** 2
        # A flux that took part in the coefficient differs from it by less.
        whole = max(own - mean, 0.1 * own) if (f.combined_footprint_hash, f.frame_id, f.gaia_id) in used else own + mean
        rows.append((f.gaia_id, ratio, ratio * np.sqrt(whole), row["flux_bound"] / row["flux"]))
    if not rows:
        raise SystemExit(f"no star of the project is in the truth: {sorted(true)[:3]}, {sorted(names.values())[:3]}")
    star, (ratio, error, bound) = np.array([r[0] for r in rows]), np.array([r[1:] for r in rows]).T
    # The scale is free: the stars' own weighted mean.
    scale = np.average(ratio, weights=error**-2)
    off, error = ratio / scale - 1, error / scale
    print("\n| star, against truth | frames | bound, mmag | scatter, mmag | within the aim | pull | offset, mmag |")
    print("|---|---|---|---|---|---|---|")
    inside, pulls = [], []
    for name in sorted(set(star), key=lambda n: np.median(bound[star == n])):
        mine = star == name
        if mine.sum() < 3:
            continue
        offset = np.average(off[mine], weights=error[mine] ** -2)
        limit = float(MILLIMAG * np.median(bound[mine]))
        found = scatter(off[mine])
        # The mean took its share of each residual.
        pulls.append((off[mine] - offset) / error[mine] * np.sqrt(mine.sum() / (mine.sum() - 1)))
        inside.append(found <= SLACK * limit + ALLOWED)
        fine = "yes" if inside[-1] else "no"
        pull, away = pulls[-1].std(), MILLIMAG * offset
        print(f"| {name} | {mine.sum()} | {limit:.1f} | {found:.1f} | {fine} | {pull:.2f} | {away:+.1f} |")
    print(f"\n{sum(inside)} of {len(inside)} stars within {SLACK} times the bound plus {ALLOWED} mmag")
    histogram(np.concatenate(pulls), "against truth, each star's offset taken off")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, nargs="?", help="a project that has been run")
    parser.add_argument("--simulate", type=Path, help="a folder for a simulated campaign")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--size", type=int, default=800)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if (options.project is None) == (options.simulate is None):
        parser.error("name a project file, or a folder with --simulate")
    if options.simulate is not None:
        truth = campaign(options.simulate, options.frames, options.seed, options.size)
        options.project = truth.project
        report = Project.open(options.project).run(stop="calculate_normalization_coefficient")
        if report.exit_code not in (0, 3):
            raise SystemExit(report.message)
    project = Project.open(options.project)
    table(project)
    if (options.project.parent / "truth" / "summary.json").exists():
        against_truth(project, read_truth(options.project.parent))


if __name__ == "__main__":
    main()
