"""The plate solver "astrometry-net": runs Astrometry.net's ``solve-field`` on the list of sources."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import positive, true_or_false
from lcframework.types import NeedMissing, NotSolved, PlateSolution, SolveHint, SourceTable, StarTable
from plugins_builtin.astrometry.solving import (
    Refining,
    brightest,
    icrs,
    order_of_sip,
    refitted,
    search_cone,
    star_list,
)
from plugins_builtin.astrometry.star_match import positions
from plugins_builtin.astrometry.wcs_fit import open_wcs

_PATIENCE = 2.0  # seconds that processes have to end
_INDEX_HELP = (
    "index files hold the stars that it compares with, and those with patterns of a tenth to all of the frame's size "
    "are needed: Debian's package astrometry-data-tycho2 suits frames wider than half a degree, "
    "astrometry-data-2mass narrower ones"
)


@attrs.frozen
class AstrometryNet(Refining):
    """Solves frames with a local Astrometry.net."""

    results_version: ClassVar[int] = 1
    runs: ClassVar[tuple[str, ...]] = ("command",)

    command: str = "solve-field"
    index_dir: Path | None = None  # a folder of index files; none: the command's own configuration
    sip_order: int = attrs.field(default=1, validator=order_of_sip)
    timeout: float = attrs.field(default=60.0, validator=positive)  # seconds a frame
    max_sources: int = attrs.field(default=200, validator=positive)  # the brightest are given
    # fit to [stars]'s catalogue; else to the stars of the index files, which are fewer
    refine: bool = attrs.field(default=False, validator=true_or_false)

    def solve(self, sources: SourceTable, shape: tuple[int, int], hint: SolveHint) -> PlateSolution | NotSolved:
        """Return the frame's WCS, or why none was found; position, radius and scale in `hint` narrow the search.

        Raises
        ------
        NeedMissing
            Where the command or its index files are not there.
        """
        command = shutil.which(self.command)
        if command is None:
            raise NeedMissing(
                f"the command {self.command!r} was not found: install Astrometry.net (Debian, Ubuntu: apt install "
                "astrometry.net astrometry-data-tycho2), or give its path as command in [plate_solving.astrometry-net]"
            )
        rows = brightest(sources, self.max_sources)
        if isinstance(rows, NotSolved):
            return rows
        with _workspace() as name:
            workspace = Path(name)
            self._write_sources(workspace, sources, rows)
            output = self._run([command, *self._arguments(workspace, shape, hint)], workspace)
            if isinstance(output, NotSolved):
                return output
            if not (workspace / "out.wcs").exists():
                return self._failure(output, len(rows))
            solution, index_stars = _read(workspace)
        return refitted(solution, sources, shape, hint, self.refine, index_stars)

    @staticmethod
    def _write_sources(workspace: Path, sources: SourceTable, rows: np.ndarray) -> None:
        from astropy.io import fits
        from astropy.table import Table

        xy = positions(sources, rows) + 1.0  # FITS counts pixels from 1
        table = Table({"X": xy[:, 0], "Y": xy[:, 1], "FLUX": np.asarray(sources["flux"], float)[rows]})
        fits.BinTableHDU(table).writeto(workspace / "sources.xyls")

    def _arguments(self, workspace: Path, shape: tuple[int, int], hint: SolveHint) -> list[str]:
        ny, nx = shape
        arguments = [str(workspace / "sources.xyls"), "--dir", str(workspace), "--temp-dir", str(workspace)]
        arguments += ["--out", "out", "--width", str(nx), "--height", str(ny), "--x-column", "X", "--y-column", "Y"]
        arguments += ["--sort-column", "FLUX", "--overwrite", "--no-plots", "--crpix-center"]
        # Files that nobody reads, and steps that need the command's own Python.
        arguments += ["--new-fits", "none", "--index-xyls", "none", "--match", "none"]
        arguments += ["--rdls", str(workspace / "out.rdls"), "--tag-all"]
        arguments += ["--no-remove-lines", "--uniformize", "0", "--corr", str(workspace / "out.corr")]
        # A second guard beside our own: the engine stops by itself even if this process is killed.
        arguments += ["--cpulimit", str(max(1, math.ceil(self.timeout)))]
        arguments += ["--tweak-order", str(self.sip_order)] if self.sip_order > 0 else ["--no-tweak"]
        if hint.scale is not None:
            low, high = hint.scale
            arguments += ["--scale-units", "arcsecperpix", "--scale-low", repr(low), "--scale-high", repr(high)]
        cone = search_cone(shape, hint)
        if cone is not None:
            arguments += ["--ra", repr(cone[0]), f"--dec={cone[1]!r}", "--radius", repr(cone[2])]
        if self.index_dir is not None:
            arguments += ["--config", str(self._configuration(workspace))]
        return arguments

    def _configuration(self, workspace: Path) -> Path:
        folder = Path(self.index_dir or "").expanduser().resolve()
        if not any(folder.glob("*.fits")):
            raise NeedMissing(
                f"no index files (*.fits) in {folder}, the index_dir of [plate_solving.astrometry-net]; {_INDEX_HELP}"
            )
        path = workspace / "astrometry.cfg"
        path.write_text(f"cpulimit {math.ceil(self.timeout)}\nadd_path {folder}\nautoindex\n", encoding="utf-8")
        return path

    def _run(self, arguments: list[str], workspace: Path) -> str | NotSolved:
        """Run the command and return what it printed; everything that it started ends with it."""
        with open(workspace / "log", "w+", encoding="utf-8", errors="replace") as log:
            process = subprocess.Popen(
                arguments, cwd=workspace, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            try:
                process.wait(timeout=self.timeout)
            except subprocess.TimeoutExpired:
                return NotSolved(
                    f"{self.command} found nothing within {self.timeout:g} s; narrow pixel_scale and search_radius in "
                    "[plate_solving], or raise timeout in [plate_solving.astrometry-net]"
                )
            finally:
                _end(process)
            log.seek(0)
            return log.read()

    def _failure(self, output: str, number: int) -> NotSolved:
        lower = output.lower()
        if "no index" in lower or "must list at least one index" in lower or "no valid indexes" in lower:
            raise NeedMissing(f"{self.command} has no index files; {_INDEX_HELP}; or set index_dir to a folder of them")
        if "did not solve" in lower:
            return NotSolved(
                f"{self.command} found no match for the brightest {number} sources; check pixel_scale, search_radius "
                f"in [plate_solving], and whether its index files suit the frame's size ({_INDEX_HELP})"
            )
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        return NotSolved(f"{self.command} failed: {' / '.join(lines[-3:]) or 'it printed nothing'}")


def _workspace() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="lcf-solve-")
    except OSError as error:
        raise NeedMissing(
            f"no temporary folder can be made for Astrometry.net: {error.strerror}. Free room there, or set TMPDIR to "
            "a folder with room"
        ) from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the command and its children, if any are left: those that do not end on SIGTERM are killed.

    The command may end before its children: these are waited for.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):  # raised where no process is left
        os.killpg(process.pid, signal.SIGTERM)
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            process.poll()  # the command itself would be left as a zombie
            os.killpg(process.pid, 0)
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_PATIENCE)


def _read(workspace: Path) -> tuple[PlateSolution, StarTable | None]:
    """Return the solution, with its matches to the stars of the index files, and these stars."""
    from astropy.io import fits

    header = icrs(fits.getheader(workspace / "out.wcs"))
    matched, rms = 0, np.nan
    if (workspace / "out.corr").exists():
        with fits.open(workspace / "out.corr", memmap=False) as file:
            pairs = file[1].data
            x, y = open_wcs(header).all_world2pix(pairs["index_ra"], pairs["index_dec"], 0, quiet=True)
            distance = np.hypot(x - (pairs["field_x"] - 1.0), y - (pairs["field_y"] - 1.0))
        # The list holds chance pairs of some pixels too.
        close = distance[distance < max(2.0, 5.0 * float(np.median(distance)))]
        matched, rms = len(close), float(np.sqrt(np.mean(close**2)))
    stars = None
    if (workspace / "out.rdls").exists():
        with fits.open(workspace / "out.rdls", memmap=False) as file:
            stars = star_list(file[1].data["RA"], file[1].data["DEC"])
    return PlateSolution(header, matched, rms), stars


@hookimpl
def lcf_plate_solvers() -> dict[str, type]:
    """Offer the plate solver ``astrometry-net``."""
    return {"astrometry-net": AstrometryNet}
