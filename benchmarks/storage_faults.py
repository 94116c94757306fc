"""What becomes of a light curve where storage fails: products damaged, raw files away, the disk full.

``python benchmarks/storage_faults.py`` makes a small campaign, damages one thing at a time in a copy of it, runs again,
compares the light curve with that of the sound campaign, and prints a table in Markdown; exit code 1 where one differs.
Full disks are real (tmpfs) where the user may mount them, else the size of files is limited.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import numpy as np
from campaigns import LCF

from lcframework.project import Project
from lcframework.testing.campaign import simulate_campaign
from lcframework.types import LcfError

FRAMES = 4
#: A kind of product: its files, and the stage that is forced so that they are read; empty: a new frame brings that.
KINDS = {
    "imported frame": ("frames/quad_000?.fits", "stamp_extraction"),
    "its sources": ("frames/quad_000?_sources.fits", "stamp_extraction"),
    "its WCS": ("frames/quad_000?.wcs", "stamp_extraction"),
    "catalogue stars for solvers": ("frames/field_stars.fits", ""),
    "stamps": ("regions/*/stamps_*.h5", ""),
    "PSF": ("regions/*/psf_*.h5", ""),
    "flux estimates": ("regions/*/fluxes_*.h5", ""),
    "cutouts": ("prepared_roi_cutouts/cutouts_*.h5", "model_calibrated_cutouts"),
    "fit": ("prepared_roi_cutouts/*_fit.h5", ""),
    "background image": ("prepared_roi_cutouts/*_background.fits", ""),
    "light curve": ("prepared_roi_cutouts/*_per_epoch.csv", ""),
    "`regions.h5`": ("regions.h5", ""),
}
#: The size in KiB of the disk that a first run finds; it writes 9 MB.
DISKS = (500, 2000, 5000, 7000, 7800)
#: Where none can be mounted: the greatest size in KiB of a file.
LIMITS = (5, 50, 110, 180, 1000)
#: A raw file that can be listed and not read, by root neither: a link to it gives "Input/output error".
UNREADABLE = Path("/proc/self/mem")


def flip(path: Path) -> None:
    """Flip a bit in each of 16 bytes in the middle half of a file."""
    content = bytearray(path.read_bytes())
    random = np.random.default_rng(zlib.crc32(path.name.encode()))
    for at in random.integers(len(content) // 4, 3 * len(content) // 4, 16):
        content[at] ^= 1 << int(random.integers(8))
    path.write_bytes(content)


def halve(path: Path) -> None:
    """Cut off the second half of a file."""
    os.truncate(path, path.stat().st_size // 2)


FAULTS: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "truncated": halve,
    "bits flipped": flip,
}


@attrs.frozen
class Row:
    """What was done, how the run after it ended and what it said, and how the light curves then compare."""

    fault: str
    code: int
    said: str
    curve: str

    @property
    def good(self) -> bool:
        """Whether the light curve is that of the sound campaign."""
        return self.curve == "equal"

    def __str__(self) -> str:
        """Return the row of the table."""
        return f"| {self.fault} | {self.code} | {self.said} | {self.curve} |"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="only faults whose name contains this")
    only = parser.parse_args().only
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fresh, finished, more = make(folder)
        print("| fault | exit code | the run says | the light curve |\n|---|---|---|---|", flush=True)
        rows = []
        for cases in (damaged_products(folder, finished, more, only), raw_files_away(folder, fresh, finished, only),
                      full_disks(folder, fresh, finished, only)):  # fmt: skip
            for row in cases:
                print(row, flush=True)
                rows.append(row)
    print(f"\n{sum(row.good for row in rows)} of {len(rows)} light curves are that of the sound campaign")
    return 0 if all(row.good for row in rows) else 1


def make(folder: Path) -> tuple[Path, Path, Path]:
    """Make a campaign that nobody ran, one that ran on all frames but one, and that one with the frame."""
    fresh, finished, more = folder / "fresh", folder / "finished", folder / "more"
    simulate_campaign(
        fresh, seed=3, frames=FRAMES + 1, size=520, stars=12, saturated_stars=1, faint_stars=10, field_galaxies=2,
        target="double",
    )  # fmt: skip
    project = fresh / "project.toml"
    project.write_text(project.read_text() + '\nworkers = 1\n[roi_model]\nplugin = "joint"\n')
    (fresh / "spare").mkdir()
    spare = sorted((fresh / "raw").glob("*.fits"))[-1]
    spare.rename(fresh / "spare" / spare.name)
    shutil.copytree(fresh, finished)
    assert run(finished)[0] == 0
    shutil.copytree(finished, more)
    add_frame(more)
    assert run(more)[0] == 0
    return fresh, finished, more


def run(folder: Path, *force: str) -> tuple[int, str]:
    """Run a project in this process; return its exit code and what it says of storage."""
    try:
        report = Project.open(folder / "project.toml").run(force=force)
    except LcfError as error:
        return 1, shortened(str(error), folder)
    said = [report.message, *report.repaired, *(f"{u.unit}: {u.reason}" for u in report.not_read)]
    said += [f"BUG {u.unit}: {u.reason}" for u in report.bugs] + [f"UNUSABLE {u.unit}" for u in report.unusable]
    return report.exit_code, shortened("; ".join(text for text in said if text), folder)


def run_limited(folder: Path, most_bytes: int) -> tuple[int, str]:
    """Run a project in a process of its own whose files may have so many bytes; 0 for any number."""

    def limit() -> None:
        if most_bytes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))

    command = [*LCF, "run", str(folder / "project.toml")]
    ended = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, check=False)
    said = "TRACEBACK" if "Traceback" in ended.stderr else " ".join(ended.stderr.split())
    return ended.returncode, shortened(said, folder)


def shortened(said: str, folder: Path) -> str:
    """Return what a run says as a cell of the table."""
    text = said.replace(f"{folder}/", "").replace(f"{folder.parent}/", "").replace("|", "/").replace("\n", " ")
    return text if len(text) < 200 else f"{text[:200]}..."


def add_frame(folder: Path) -> None:
    """Add the raw frame that was put aside."""
    for path in (folder / "spare").glob("*.fits"):
        path.rename(folder / "raw" / path.name)


def curve_of(folder: Path) -> str:
    """Return the table of a light curve; empty where there is none."""
    path = folder / "prepared_roi_cutouts" / "QUAD_photometry_per_epoch.csv"
    return path.read_text() if path.exists() else ""


def compared(folder: Path, sound: Path) -> str:
    """Return in words how a light curve compares with that of the sound campaign, letter by letter."""
    mine, theirs = curve_of(folder), curve_of(sound)
    if mine == theirs:
        return "equal"
    return f"DIFFERS: {len(mine.splitlines()) - 1} epochs" if mine else "none"


@contextlib.contextmanager
def copied(folder: Path) -> Iterator[Path]:
    """Yield a copy of a project's folder."""
    copy = folder.parent / "copy"
    shutil.copytree(folder, copy)
    try:
        yield copy
    finally:
        shutil.rmtree(copy)


def damaged_products(folder: Path, finished: Path, more: Path, only: str) -> Iterator[Row]:
    """Damage one file of each kind in each way, and run."""
    for kind, (pattern, force) in KINDS.items():
        for name, damage in FAULTS.items():
            fault = f"{kind}: {name}"
            if only not in fault:
                continue
            with copied(finished) as copy:
                damage(sorted(copy.glob(pattern))[0])
                if not force:
                    add_frame(copy)
                code, said = run(copy, *([force] if force else []))
                yield Row(fault, code, said, compared(copy, finished if force else more))


def raw_files_away(folder: Path, fresh: Path, finished: Path, only: str) -> Iterator[Row]:
    """Take raw files away for a run, and run once more when they are back."""
    for when, start in (("first run", fresh), ("finished campaign", finished)):
        for what in ("folder missing", "folder empty", "all files unreadable", "a file unreadable"):
            fault = f"raw files, {when}: {what}"
            if only not in fault:
                continue
            with copied(start) as copy:
                if start is finished:
                    run(copy)  # finds the raw files where they are now
                with away(copy / "raw", what):
                    code, said = run(copy)
                later = run(copy)[0]
                yield Row(fault, code, said, compared(copy, finished) if later == 0 else f"exit code {later}")


@contextlib.contextmanager
def away(raw: Path, what: str) -> Iterator[None]:
    """Take raw files away, and put them back."""
    aside = raw.with_name("aside")
    raw.rename(aside)
    if what != "folder missing":
        raw.mkdir()
    for i, path in enumerate(sorted(aside.iterdir()) if what.endswith("unreadable") else ()):
        (raw / path.name).symlink_to(UNREADABLE if what.startswith("all") or i == 0 else path)
    try:
        yield
    finally:
        shutil.rmtree(raw, ignore_errors=True)
        aside.rename(raw)


def full_disks(folder: Path, fresh: Path, finished: Path, only: str) -> Iterator[Row]:
    """Run on a disk that becomes full, and once more when there is room."""
    mountable = os.geteuid() == 0 and mounted(folder / "disk", DISKS[0])
    if mountable:
        subprocess.run(["umount", str(folder / "disk")], check=True)
    for size in DISKS if mountable else LIMITS:
        fault = f"disk full: {size} KiB" if mountable else f"files of {size} KiB at most"
        if only not in fault:
            continue
        with copied(fresh) as copy:
            place = folder / "disk"
            if mountable:
                mounted(place, size)
                text = (copy / "project.toml").read_text().replace('workdir = "."', f'workdir = "{place}"')
                (copy / "project.toml").write_text(text)
            try:
                code, said = run_limited(copy, 0 if mountable else 1024 * size)
                work = place if mountable else copy
                half = f", half a light curve of {len(curve_of(work).splitlines()) - 1} epochs" * bool(curve_of(work))
                if mountable:
                    subprocess.run(["mount", "-o", "remount,size=100m", str(place)], check=True)
                later = run(copy)[0]
                yield Row(fault, code, said + half, compared(work, finished) if later == 0 else f"exit code {later}")
            finally:
                if mountable:
                    subprocess.run(["umount", str(place)], check=True)


def mounted(place: Path, size: int) -> bool:
    """Mount a file system of so many KiB, and return whether that is allowed."""
    place.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(place)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
