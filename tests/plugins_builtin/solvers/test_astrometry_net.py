from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import attrs
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from tycho2_field import HAS_INDEX, HINT, INDEX, SHAPE, STARS, error_of, field, header, no_field

from lcframework.types import NeedMissing, NotSolved, PlateSolution, SolveHint
from plugins_builtin.backgrounds.sep import SepBackground
from plugins_builtin.solvers.astrometry_net import AstrometryNet
from plugins_builtin.sources.sep import SepSources

installed = pytest.mark.skipif(
    shutil.which("solve-field") is None or not HAS_INDEX,
    reason="needs solve-field and Debian's index files: apt install astrometry.net astrometry-data-tycho2",
)


@installed
@pytest.mark.parametrize(("angle", "parity"), [(179.5, -1), (33.0, 1)])
@pytest.mark.parametrize("refine", [False, True])
def test_solves_simulated_sources(angle, parity, refine):
    truth = header(angle, parity)
    hint = attrs.evolve(HINT, stars=STARS if refine else None)
    solution = AstrometryNet(index_dir=INDEX, refine=refine).solve(field(truth, extra=60), SHAPE, hint)
    assert isinstance(solution, PlateSolution)
    error = error_of(solution, truth)
    # Counting pixels from 1 instead of 0 would show as 1.4 px here.
    assert np.median(error) < 0.1
    assert error.max() < 0.3
    assert solution.matched > (20 if refine else 12)
    assert solution.rms == pytest.approx(0.14, abs=0.08)
    assert solution.refined
    assert solution.header["RADESYS"] == "ICRS"


@installed
def test_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    solution = AstrometryNet(sip_order=0).solve(field(header(), extra=60), SHAPE, HINT)
    assert isinstance(solution, PlateSolution)
    assert list(tmp_path.iterdir()) == []


@installed
def test_sources_of_no_sky_are_not_solved():
    answer = AstrometryNet().solve(no_field(), SHAPE, SolveHint(31.04, 46.69, 0.3, (5.0, 5.3)))
    assert isinstance(answer, NotSolved)
    assert "pixel_scale" in answer.reason


@installed
def test_a_folder_without_index_files_is_a_missing_need(tmp_path):
    with pytest.raises(NeedMissing, match="astrometry-data-tycho2"):
        AstrometryNet(index_dir=tmp_path).solve(field(header()), SHAPE, SolveHint())
    (tmp_path / "index-empty.fits").write_bytes(b"")
    with pytest.raises(NeedMissing, match="index files"):
        AstrometryNet(index_dir=tmp_path).solve(field(header()), SHAPE, SolveHint())


def command(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_pixels_are_counted_from_1_on_the_way_there_and_from_0_on_the_way_back(tmp_path, monkeypatch):
    """A stand-in for the command keeps its input and answers with the WCS that the sources were made by."""
    truth = header()
    sources, kept = field(truth), tmp_path / "kept"
    kept.mkdir()
    wcs = WCS(truth)
    rows = np.argsort(-np.asarray(sources["flux"]))[:10]
    xy = np.stack([np.asarray(sources[c], float)[rows] for c in "xy"])
    ra, dec = wcs.all_pix2world(*xy, 0)
    pairs = Table({"index_ra": ra, "index_dec": dec, "field_x": xy[0] + 1, "field_y": xy[1] + 1})
    fits.BinTableHDU(pairs).writeto(kept / "out.corr")
    fits.PrimaryHDU(header=truth).writeto(kept / "out.wcs")
    script = command(tmp_path / "solve", f'cp "$1" {kept}/in.xyls\ncp {kept}/out.* .')
    solution = AstrometryNet(command=script).solve(sources, SHAPE, SolveHint())
    given = Table.read(kept / "in.xyls")
    np.testing.assert_allclose([given["X"][:10], given["Y"][:10]], xy + 1, atol=1e-6)
    assert isinstance(solution, PlateSolution)
    assert solution.matched == 10
    assert solution.rms < 1e-6


def test_a_missing_command_is_a_missing_need():
    with pytest.raises(NeedMissing, match=r"apt install astrometry\.net"):
        AstrometryNet(command="no-such-solve-field").solve(field(header()), SHAPE, SolveHint())


def test_too_few_sources():
    answer = AstrometryNet(command="true").solve(field(header())[:3], SHAPE, SolveHint())
    assert isinstance(answer, NotSolved)
    assert "3 sources are too few" in answer.reason


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.mark.slow
def test_a_timeout_ends_the_children_too(tmp_path):
    script = command(tmp_path / "slow", f"sleep 60 & echo $! > {tmp_path}/pid\nwait")
    begun = time.monotonic()
    answer = AstrometryNet(command=script, timeout=4.0).solve(field(header()), SHAPE, SolveHint())
    assert time.monotonic() - begun < 30
    assert isinstance(answer, NotSolved)
    assert "within 4 s" in answer.reason
    assert not alive(int((tmp_path / "pid").read_text()))


def test_children_that_outlive_the_command_and_ignore_the_request_are_killed(tmp_path):
    script = command(tmp_path / "slow", f"(trap '' TERM; exec sleep 60) & echo $! > {tmp_path}/pid\nwait")
    assert isinstance(AstrometryNet(command=script, timeout=2.0).solve(field(header()), SHAPE, SolveHint()), NotSolved)
    pid, until = int((tmp_path / "pid").read_text()), time.monotonic() + 5.0
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert not alive(pid)


def test_an_interrupt_ends_the_children_too(tmp_path):
    script = command(tmp_path / "slow", f"sleep 60 & echo $! > {tmp_path}/pid\nwait")

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 4.0)
    try:
        with pytest.raises(KeyboardInterrupt):
            AstrometryNet(command=script, timeout=30.0).solve(field(header()), SHAPE, SolveHint())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_command_that_fails_is_quoted(tmp_path):
    script = command(tmp_path / "broken", "echo the disk is full >&2; exit 3")
    answer = AstrometryNet(command=script).solve(field(header()), SHAPE, SolveHint())
    assert isinstance(answer, NotSolved)
    assert "the disk is full" in answer.reason


def test_hints_reach_the_command(tmp_path):
    script = command(tmp_path / "spy", f'printf "%s\\n" "$@" > {tmp_path}/arguments')
    hint = SolveHint(10.0, -30.5, 0.5, (0.2, 0.23))
    AstrometryNet(command=script, sip_order=2, timeout=7.0).solve(field(header()), SHAPE, hint)
    arguments = (tmp_path / "arguments").read_text().split("\n")
    value = {
        name: arguments[arguments.index(name) + 1] for name in arguments if name.startswith("--") and "=" not in name
    }
    assert (value["--width"], value["--height"], value["--tweak-order"]) == ("650", "500", "2")
    assert (value["--scale-low"], value["--scale-high"], value["--scale-units"]) == ("0.2", "0.23", "arcsecperpix")
    assert (value["--ra"], value["--cpulimit"]) == ("10.0", "7")
    assert "--dec=-30.5" in arguments
    assert float(value["--radius"]) == pytest.approx(0.5 + 0.5 * np.hypot(*SHAPE) * 0.23 / 3600)


@pytest.mark.parametrize("options", [{"timeout": 0.0}, {"sip_order": 9}, {"max_sources": 0}])
def test_refuses_senseless_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        AstrometryNet(**options)


@pytest.mark.slow
@installed
@pytest.mark.skipif("LCF_HATP32" not in os.environ, reason="LCF_HATP32 does not name the folder of the HAT-P-32 frames")
def test_all_real_frames_are_solved():
    folder = Path(os.environ["LCF_HATP32"])
    files = sorted((folder / "raw").glob("*.FITS"))
    stars = Table.read(folder / "tycho2_hatp32.ecsv")
    stars["magnitude"] = stars["vt_mag"]
    hint = SolveHint(31.04, 46.69, 1.0, (4.5, 6.0), stars=stars)
    rms, matched, seconds = [], [], []
    for file in files:
        image = fits.getdata(file).astype(np.float32)
        mask = image >= 4000
        mask[:9], mask[:, :4] = True, True
        sky, noise = SepBackground().estimate(image, mask)
        variance = np.full(image.shape, noise**2)
        sources = SepSources(threshold=5.0, min_area=5).extract(image - sky, variance, mask)
        begun = time.monotonic()
        solution = AstrometryNet(refine=True).solve(sources, image.shape, hint)
        seconds.append(time.monotonic() - begun)
        assert isinstance(solution, PlateSolution), f"{file.name}: {solution.reason}"
        rms.append(solution.rms)
        matched.append(solution.matched)
    print(f"\n{len(files)} frames: rms {np.median(rms):.3f} px (99 %: {np.percentile(rms, 99):.2f}), ")
    print(f"{np.median(matched):.0f} stars (fewest {min(matched)}), {np.median(seconds):.2f} s a frame")
    assert len(files) == 142
    assert np.median(rms) < 0.32
    assert np.percentile(rms, 99) < 0.7


def test_the_command_line_is_one_that_solve_field_takes():
    if shutil.which("solve-field") is None:
        pytest.skip("needs solve-field: apt install astrometry.net")
    known = subprocess.run(["solve-field", "--help"], capture_output=True, text=True, check=False).stdout
    used = AstrometryNet()._arguments(Path("/tmp"), SHAPE, SolveHint(1.0, 2.0, 3.0, (4.0, 5.0)))
    for name in {a.split("=")[0] for a in used if a.startswith("--")}:
        assert name in known, name
