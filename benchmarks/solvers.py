"""Every built-in plate solver on the same real and the same simulated frames: how many it solves, and how well.

    python benchmarks/solvers.py

The real frames are those of HAT-P-32 in the folder of --hatp32 or the environment variable LCF_HATP32; without it they
are left out. The simulated ones are made on the spot (galsim is needed), with index files of their own catalogue, which
build-astrometry-index makes; `nova` is asked on this machine, where a service answers that solves with the
solver astrometry-net. Takes about a minute of CPU time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from astropy.table import Table, vstack
from loopback_nova import KEY, LoopbackNova
from solver_frames import Frame, real, simulated

from lcframework.sky.wcs_check import check
from lcframework.storage.frame_files import make_wcs
from lcframework.types import LcfError, NotSolved, PlateSolution
from plugins_builtin.astrometry.star_match import bright_sources, mutual_nearest, positions, refine
from plugins_builtin.astrometry.wcs_fit import open_wcs, stars_in_frame
from plugins_builtin.solvers.astrometry_net import AstrometryNet
from plugins_builtin.solvers.catalog import CatalogMatch
from plugins_builtin.solvers.existing import ExistingWcs
from plugins_builtin.solvers.nova import Nova
from plugins_builtin.solvers.reference_frame import ReferenceFrame
from plugins_builtin.solvers.wheel import Wheel


@attrs.frozen(eq=False)
class Row:
    """One solver on one frame."""

    solved: bool
    reason: str = ""
    matched: int = 0
    rms: tuple[float, float] = (np.nan, np.nan)  # as answered, refined; pixels
    centre: tuple[float, float] = (np.nan, np.nan)  # distance from the truth, as answered, refined; pixels
    corners: tuple[float, float] = (np.nan, np.nan)  # the largest of the four
    seconds: float = np.nan  # CPU


def cpu() -> float:
    """Return the CPU seconds of this process and of those that it ran."""
    return sum(os.times()[:4])


def against_stars(before: Any, after: Any, frame: Frame) -> tuple[int, tuple[float, float]]:
    """Return the number of stars that the refined WCS puts onto sources, and their rms in pixels under both WCSs.

    Pairs beyond four standard deviations (blends, chance) are left out.
    """
    xy = positions(frame.sources, bright_sources(frame.sources))
    stars = frame.hint.stars
    ra, dec = np.asarray(stars["ra"]), np.asarray(stars["dec"])
    inside, x, y = stars_in_frame(open_wcs(after), ra, dec, frame.shape)
    i, j = mutual_nearest(xy, np.stack([x, y], axis=1), 2.0)
    new = np.hypot(xy[i, 0] - x[j], xy[i, 1] - y[j])
    used = new < max(4.0 * float(np.median(new)) / 1.1774, 0.05)  # the median of a Rayleigh distribution
    x, y = open_wcs(before).all_world2pix(ra[inside[j]], dec[inside[j]], 0, quiet=True)
    old = np.hypot(xy[i, 0] - x, xy[i, 1] - y)
    return int(used.sum()), (float(np.sqrt(np.mean(old[used] ** 2))), float(np.sqrt(np.mean(new[used] ** 2))))


def against_truth(header: Any, frame: Frame) -> tuple[float, float]:
    """Return how far a WCS puts the frame's centre, and the worst of its corners, from where they are; pixels."""
    if frame.truth is None:
        return np.nan, np.nan
    ny, nx = frame.shape
    x = np.array([(nx - 1) / 2, 0.0, nx - 1.0, nx - 1.0, 0.0])
    y = np.array([(ny - 1) / 2, 0.0, 0.0, ny - 1.0, ny - 1.0])
    tx, ty = frame.truth(*open_wcs(header).all_pix2world(x, y, 0))
    distance = np.hypot(tx - x, ty - y)
    return float(distance[0]), float(distance[1:].max())


def lean(frame: Frame) -> float:
    """Return how far the sources lie from where light falls by geometry alone: what no WCS can know; pixels."""
    xy = positions(frame.sources, bright_sources(frame.sources))
    expected = np.stack(frame.truth(frame.hint.stars["ra"], frame.hint.stars["dec"]), axis=1)
    i, j = mutual_nearest(xy, expected, 1.0)
    return float(np.hypot(*np.median(xy[i] - expected[j], axis=0)))


def measure(solver: Any, frame: Frame) -> Row:
    """Run a solver on a frame."""
    begun = cpu()
    answer = solver.solve(frame.sources, frame.shape, frame.hint)
    seconds = cpu() - begun
    if isinstance(answer, NotSolved):
        return Row(False, f"{frame.name}: {answer.reason}", seconds=seconds)
    wrong = check(make_wcs(answer.header), frame.shape, frame.sources, frame.hint.stars).wrong
    if wrong:
        return Row(False, f"{frame.name}: refused: {wrong}", seconds=seconds)
    better = refine(answer, frame.sources, frame.hint.stars, frame.shape)
    matched, rms = against_stars(answer.header, better.header, frame)
    (c0, e0), (c1, e1) = against_truth(answer.header, frame), against_truth(better.header, frame)
    return Row(True, "", matched, rms, (c0, c1), (e0, e1), seconds)


def with_references(solver: Any, frames: list[Frame]) -> list[Frame]:
    """Return the frames, each with another one of its sky as a reference that a solver solved."""
    solved: dict[str, PlateSolution] = {}
    for frame in frames:
        answer = solver.solve(frame.sources, frame.shape, frame.hint)
        if isinstance(answer, PlateSolution):
            solved[frame.name] = answer
    out = []
    for frame in frames:
        others = [o for o in frames if o.sky == frame.sky and o.name in solved and o is not frame]
        hint = frame.hint
        if others:
            best = max(others, key=lambda o: solved[o.name].matched)
            header = solved[best.name].header
            hint = attrs.evolve(hint, reference_sources=best.sources, reference_wcs=header)
        out.append(attrs.evolve(frame, hint=hint))
    return out


def with_headers(solver: Any, frames: list[Frame]) -> list[Frame]:
    """Return frames that come with a WCS: their own, or where there is none that of a solver."""
    out = []
    for frame in frames:
        header = frame.hint.header
        if header is None:
            answer = solver.solve(frame.sources, frame.shape, frame.hint)
            header = answer.header if isinstance(answer, PlateSolution) else None
        out.append(attrs.evolve(frame, hint=attrs.evolve(frame.hint, header=header)))
    return out


def runs(frames: list[Frame], index: Path | None) -> Iterator[tuple[str, str | list[Row]]]:
    """Return each solver's name, and its rows or why it can't be run."""
    engine = AstrometryNet(index_dir=index)
    missing = "" if shutil.which("solve-field") and index else "needs solve-field and index files"
    yield "existing", [measure(ExistingWcs(), f) for f in with_headers(CatalogMatch() if missing else engine, frames)]
    yield "astrometry-net", missing or [measure(engine, f) for f in frames]
    if missing:
        yield "nova", missing
    else:
        service = LoopbackNova(engine)
        os.environ.update(NO_PROXY="127.0.0.1", ASTROMETRY_NET_API_KEY=KEY)
        yield "nova", [measure(Nova(url=service.url, poll=0.03), f) for f in frames]
        service.close()
    yield "catalog", [measure(CatalogMatch(), f) for f in frames]
    yield "reference-frame", [measure(WithoutStars(), f) for f in with_references(CatalogMatch(), frames)]
    try:
        yield "wheel", [measure(Wheel(index_dir=index), f) for f in frames]
    except LcfError as error:
        yield "wheel", str(error)


class WithoutStars:
    """The solver reference-frame without the catalogue, so that its own answer shows."""

    def solve(self, sources: Table, shape: Any, hint: Any) -> Any:
        """Return its answer."""
        return ReferenceFrame().solve(sources, shape, attrs.evolve(hint, stars=None))


def build_index(frames: list[Frame], folder: Path) -> Path | None:
    """Make index files of the frames' catalogues; None where the program that makes them is not there."""
    if shutil.which("build-astrometry-index") is None:
        return None
    skies = {f.sky: f.hint.stars["ra", "dec", "magnitude"] for f in frames}
    vstack(list(skies.values()), metadata_conflicts="silent").write(folder / "catalogue.fits")
    out = folder / "index"
    out.mkdir()
    for number, preset in enumerate((-2, -1, 0)):  # patterns of 1 to 2.8 arcmin
        subprocess.run(
            ["build-astrometry-index", "-i", str(folder / "catalogue.fits"), "-o", str(out / f"index-{number}.fits"),
             "-A", "ra", "-D", "dec", "-S", "magnitude", "-P", str(preset), "-E", "-I", str(number + 1),
             "-t", str(folder)],
            check=True, capture_output=True,
        )  # fmt: skip
    return out


def table(name: str, frames: list[Frame], index: Path | None) -> None:
    """Print a table, and below it why frames were not solved."""
    print(f"\n{name}: {len(frames)} frames of {frames[0].shape[1]} x {frames[0].shape[0]} pixels\n")
    print("| solver | solved | stars | rms, px | refined | centre, px | refined | corner, px | refined | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    reasons = []
    for solver, rows in runs(frames, index):
        if isinstance(rows, str):
            print(f"| `{solver}` | left out: {rows} |" + " |" * 8)
            continue
        good = [r for r in rows if r.solved]
        cells = [f"{len(good)} of {len(rows)}", f"{np.median([r.matched for r in good]):.0f}" if good else ""]
        for what in ("rms", "centre", "corners"):
            for k in (0, 1):
                values = [getattr(r, what)[k] for r in good]
                cells.append(f"{np.median(values):.3f}" if values and np.isfinite(values).any() else "")
        print(f"| `{solver}` | " + " | ".join([*cells, f"{np.mean([r.seconds for r in rows]):.2f}"]) + " |", flush=True)
        reasons += [f"{solver}: {r.reason}" for r in rows if not r.solved]
        worst = max((r.corners[1] for r in good), default=np.nan)
        if np.isfinite(worst):
            reasons.append(f"{solver}: the worst corner is {worst:.2f} px off after refinement")
    if frames[0].truth is not None:
        aside = np.median([lean(f) for f in frames])
        reasons.append(
            f"The sources themselves lie {aside:.3f} px (median) from the true positions: coma moves centroids."
        )
    print("\n" + "\n".join(reasons))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20, help="of each kind")
    parser.add_argument("--hatp32", type=Path, default=os.environ.get("LCF_HATP32"), help="folder of the real frames")
    parser.add_argument(
        "--index", type=Path, default=Path("/usr/share/astrometry"), help="index files for the real sky"
    )
    options = parser.parse_args()
    if options.hatp32 and (Path(options.hatp32) / "raw").is_dir():
        index = options.index if any(options.index.glob("*.fits")) else None
        table("Real (HAT-P-32)", real(Path(options.hatp32), options.frames), index)
    else:
        print("Real frames are left out: neither --hatp32 nor LCF_HATP32 names the folder of the HAT-P-32 frames.")
    with tempfile.TemporaryDirectory(prefix="lcf-solvers-") as folder:
        frames = simulated(options.frames)
        table("Simulated", frames, build_index(frames, Path(folder)))


if __name__ == "__main__":
    main()
