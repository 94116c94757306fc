"""Bytes and files a frame of a finished project by kind, and the CPU time of joining stamps and PSFs in `regions.h5`.

    python benchmarks/files.py                         simulates and runs 6 frames of 512 x 512 with 54 stars: a minute
    python benchmarks/files.py --workdir DIR           of a project that has been run
    python benchmarks/files.py --join 1000 10000       the join at so many frames, of replicated small files

The join is timed in a workdir of its own: a database with a row for each frame, its stamps and its PSF, and for each
frame the files, which are one file under many names (hard links). "all" makes `regions.h5` from nothing, "none" finds
nothing new, "one" finds the stamps of one frame made again. Each is the CPU time of the process.
"""

from __future__ import annotations

import argparse
import os
import re
import sqlite3
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from campaigns import LCF, environment
from sqlmodel import Session

from lcframework.frames.joined_regions import join_regions
from lcframework.storage.connection import open_engine
from lcframework.storage.psf_files import write_psf
from lcframework.storage.regions_file import REGIONS
from lcframework.storage.stamp_files import Stamp, write_stamps
from lcframework.storage.tables import Frame, Product, ProductState, PsfRow
from lcframework.types import PSF, FitState, FitStatus
from lcframework.work import FrameKey, Ledger

STAGE, FIELD = "stamp_extraction", "field"
#: What the files of a frame are, by their names.
KINDS = (
    ("sources", r"_sources\.fits$"), ("WCS", r"\.wcs$"), ("stamps", r"stamps_\w+\.h5$"), ("PSF", r"psf_\w+\.h5$"),
    ("flux estimates", r"fluxes_\w+\.h5$"), ("imported frame", r"^frames/.*\.fits$"), ("regions.h5", r"regions\.h5$"),
)  # fmt: skip
SHARED = re.compile(r"frames/.*(field_stars|hot_pixels_\w+|master_\w+)\.fits$")


def simulated() -> Path:
    """Simulate a campaign, run it, and return its workdir."""
    import subprocess

    from lcframework.testing.campaign import simulate_campaign

    folder = Path(tempfile.mkdtemp(prefix="files_")) / "campaign"
    truth = simulate_campaign(
        folder, seed=1, frames=6, size=512, stars=54, saturated_stars=2, faint_stars=40, field_galaxies=4
    )
    command = [*LCF, "run", str(truth.project)]
    subprocess.run(command, env=os.environ | environment(folder / "jax"), check=False, stdout=subprocess.DEVNULL)
    return folder


def print_sizes(workdir: Path) -> None:
    """Print what the files of a frame take, by kind."""
    with sqlite3.connect(workdir / "database.sqlite3") as database:
        (frames,) = database.execute("select count(*) from frames where not eliminated").fetchone()
    sizes: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for folder in ("frames", "regions"):
        for path in (workdir / folder).rglob("*"):
            name = str(path.relative_to(workdir))
            if path.is_file() and not SHARED.fullmatch(name):
                kind = next(kind for kind, pattern in KINDS if re.search(pattern, name))
                sizes[kind] += path.stat().st_size
                files[kind] += 1
    sizes["regions.h5"] = (workdir / REGIONS).stat().st_size
    print(f"\n{frames} frames in {workdir}\n{'a frame':16}{'kB':>9}{'files':>8}")
    for kind, size in sizes.most_common():
        print(f"{kind:16}{size / frames / 1e3:9.1f}{files[kind] / frames:8.2f}")
    print(f"{'sum':16}{sum(sizes.values()) / frames / 1e3:9.1f}{sum(files.values()) / frames:8.2f}")


def replicated(workdir: Path, count: int) -> None:
    """Fill a workdir with rows and files of so many frames."""
    rng = np.random.default_rng(1)
    stamps = {
        str(5_460_000_000_000_000_000 + i): Stamp(
            rng.random((4, 4), np.float32), rng.random((4, 4), np.float32), np.zeros((4, 4), np.uint8), (0, 0),
            (0.0, 0.0), "",
        ) for i in range(58)
    }  # fmt: skip
    write_stamps(workdir / "stamps.h5", {**stamps, "QUAD": next(iter(stamps.values()))}, (512, 512), "QUAD")
    kernel = np.full((4, 4), 1 / 16)
    write_psf(workdir / "psf.h5", PSF(kernel, kernel, 2, 2.0, FitStatus(FitState.CONVERGED), 1.0), [])
    engine = open_engine("", workdir)
    with Session(engine) as session:
        for i in range(1, count + 1):
            key = f"frame_{i:05}"
            folder = workdir / "regions" / key
            folder.mkdir(parents=True)
            os.link(workdir / "stamps.h5", folder / "stamps_1.h5")
            os.link(workdir / "psf.h5", folder / "psf_ab_1.h5")
            session.add(Frame(id=i, original_image_path=key, key=key))
            session.add(PsfRow(combined_footprint_hash=FIELD, frame_id=i, psf_ref="ab", chi2=1.0, stars="", status="",
                               path=f"regions/{key}/psf_ab_1.h5", subsampling_factor=2))  # fmt: skip
            session.add(Product(stage=STAGE, unit=str(FrameKey(i, FIELD)), fingerprint="1", token="1", components={},
                                state=ProductState.MADE.value, path=f"regions/{key}/stamps_1.h5"))  # fmt: skip
        session.commit()
    engine.dispose()


def seconds_of_join(workdir: Path) -> float:
    """Return the CPU time of a join."""
    engine = open_engine("", workdir)
    with Session(engine) as session:
        stamps = Ledger.read(session).made(STAGE, FrameKey)
        started = time.process_time()
        join_regions(session, workdir, stamps, "QUAD")
        return time.process_time() - started


def time_join(count: int) -> None:
    """Print what the join takes at so many frames."""
    with tempfile.TemporaryDirectory(prefix="join_") as folder:
        workdir = Path(folder)
        replicated(workdir, count)
        every = seconds_of_join(workdir)
        none = seconds_of_join(workdir)
        (workdir / "regions/frame_00002/stamps_1.h5").rename(workdir / "regions/frame_00002/stamps_2.h5")
        with sqlite3.connect(workdir / "database.sqlite3") as database:
            new = "regions/frame_00002/stamps_2.h5"
            database.execute("update products set path = ? where unit = ?", (new, str(FrameKey(2, FIELD))))
        one = seconds_of_join(workdir)
        size = (workdir / REGIONS).stat().st_size
    print(f"{count:8}{every:9.2f}{none:9.2f}{one:9.2f}{size / 1e6:10.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path)
    parser.add_argument("--join", type=int, nargs="+", metavar="FRAMES")
    options = parser.parse_args()
    if options.workdir or not options.join:
        print_sizes(options.workdir or simulated())
    if options.join:
        print(f"\njoin, s of CPU\n{'frames':>8}{'all':>9}{'none':>9}{'one':>9}{'MB':>10}")
        for count in options.join:
            time_join(count)


if __name__ == "__main__":
    main()
