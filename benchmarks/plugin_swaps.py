"""Installs example plugins with pip in a fresh environment, swaps each in by a word, and compares the light curves.

    python benchmarks/plugin_swaps.py FOLDER

makes FOLDER/venv with the package and three examples of `plugin_examples`, simulates a campaign, runs it as it is and
with each swap, and ends with a run after all examples were uninstalled. It takes some minutes and a package index.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import attrs
import numpy as np
from astropy.table import Table

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLES = ("lcf-threads", "lcf-localmag", "lcf-epsf")


@attrs.frozen
class Swap:
    """A word of the project file that changes; `before` is a line of it, or the table under which the line is new."""

    title: str
    before: str
    after: str


SWAPS = (
    Swap("executor: threads", "[run]\n", '[run]\nexecutor = "threads"\n'),
    Swap("survey: localmag", '[calibration]\nplugin = "file"', '[calibration]\nplugin = "localmag"'),
    Swap("PSF model: epsf", "[run]\n", '[psf]\nplugin = "epsf"\n\n[run]\n'),
)


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the environment in FOLDER/venv."""
    program = folder / "venv/bin" / arguments[0]
    return subprocess.run([program, *arguments[1:]], text=True, capture_output=True, cwd=folder)


def install(folder: Path) -> None:
    """Make the environment, with the package and the examples as pip builds them."""
    venv.create(folder / "venv", with_pip=True, clear=True)
    packages = [f"{REPOSITORY}[demo]", *(REPOSITORY / "plugin_examples" / name for name in EXAMPLES)]
    done = command(folder, "python", "-m", "pip", "install", "-q", *map(str, packages))
    if done.returncode:
        sys.exit(done.stderr)


def run(folder: Path, name: str, swap: Swap | None) -> Table:
    """Run a copy of the campaign's raw frames and project file, with one swap; return its light curve."""
    base, copy = folder / "campaign", folder / name
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for part in ("raw", "stars.ecsv"):
        (copy / part).symlink_to(base / part)
    text = (base / "project.toml").read_text()
    if swap is not None:
        if swap.before not in text:
            sys.exit(f"{base / 'project.toml'} does not contain {swap.before!r}")
        text = text.replace(swap.before, swap.after)
    (copy / "project.toml").write_text(text)
    done = command(folder, "lcf", "run", str(copy / "project.toml"))
    if done.returncode not in (0, 3):
        sys.exit(f"{name}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return Table.read(copy / "prepared_roi_cutouts/QUAD_photometry_per_epoch.ecsv")


def compared(curve: Table, base: Table) -> str:
    """Say how a light curve differs from the unswapped one: levels, epochs in units of their errors, zero point."""
    words = []
    for source in "ABCD":
        ratio = np.asarray(curve[f"{source}_flux"] / base[f"{source}_flux"], dtype=float)
        level = float(np.median(ratio))
        error = np.asarray(base[f"{source}_d_flux"] / base[f"{source}_flux"], dtype=float)
        words.append(f"{level - 1:+9.2%} {np.sqrt(np.mean(((ratio / level - 1) / error) ** 2)):5.2f}")
    step = float(np.median(np.asarray(curve["zeropoint"] - base["zeropoint"], dtype=float)))
    return " ".join(words) + f"{1000 * step:9.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    install(folder)
    shutil.rmtree(folder / "campaign", ignore_errors=True)
    if (demo := command(folder, "lcf", "demo", str(folder / "campaign"))).returncode:
        sys.exit(demo.stdout + demo.stderr)
    base = run(folder, "unswapped", None)
    print(f"{'':18}" + " ".join(f"{s + ' level':>9} {'rms/d':>5}" for s in "ABCD") + "  zp mmag")
    for i, swap in enumerate(SWAPS):
        print(f"{swap.title:18}{compared(run(folder, f'swap{i}', swap), base)}", flush=True)
    command(folder, "python", "-m", "pip", "uninstall", "-q", "-y", *EXAMPLES)
    print("\nuninstalled, and named still:")
    for i, swap in enumerate(SWAPS):
        done = command(folder, "lcf", "run", str(folder / f"swap{i}/project.toml"))
        print(f"{swap.title}: exit code {done.returncode}: {(done.stdout + done.stderr).strip()}")


if __name__ == "__main__":
    main()
