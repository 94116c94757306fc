"""Bias, dark and flat through a project: star fluxes against truth, and what makes which frames out of date."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import pytest
from astropy.io import fits

from lcframework.project import Project
from lcframework.storage.frame_files import read_frame
from lcframework.testing.conformance.scenes import Mixture
from lcframework.testing.detector import Detector
from lcframework.types import PixelFlag

pytest.importorskip("ccdproc")

IMPORT = "read_convert_skysub_character_catalog"
CAMERA = Detector(shape=(200, 220), seed=4)
EXPTIME, SKY = 60.0, 8.0  # s, e-/s a pixel
PLACES = np.array([[30, 25], [110, 30], [190, 26], [28, 105], [100, 98], [185, 110], [36, 175], [115, 170], [192, 178]])
FLUX = 6000.0  # e-/s, of each star
REDUCED = '\n[reduction]\nplugin = "ccdproc"\n'


def scene() -> np.ndarray:
    ny, nx = CAMERA.shape
    psf = Mixture()
    stars = sum(psf.image(ny, x - (nx - 1) / 2, y - (ny - 1) / 2, nx) for x, y in PLACES)
    return SKY + FLUX * stars


def write(path: Path, data: np.ndarray, header: fits.Header) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(data, header).writeto(path, overwrite=True)


def write_calibration(folder: Path, n: int = 7) -> None:
    rng = np.random.default_rng(11)
    for i in range(n):
        write(folder / f"bias/b{i}.fits", CAMERA.read(rng, 0.0), CAMERA.header("Bias Frame", 0.0))
        write(folder / f"dark/d{i}.fits", CAMERA.read(rng, 150.0), CAMERA.header("Dark Frame", 150.0))
        for band in "ri":
            flat = CAMERA.read(rng, 5.0, 6000.0 + 300 * i, band)
            write(folder / f"flat/{band}{i}.fits", flat, CAMERA.header("Flat Field", 5.0, band))


@attrs.frozen
class Folder:
    """A project on disk."""

    path: Path

    @property
    def toml(self) -> Path:
        return self.path / "project.toml"

    def configure(self, text: str = "") -> None:
        self.toml.write_text(f"[roi.X]\nra = 10.0\ndec = 20.0\n[run]\nworkers = 1\n{text}")

    def run(self, stop: str = IMPORT):
        return Project.open(self.toml).run(stop=stop)

    def pending(self) -> dict[str, tuple[str, ...]]:
        (stage,) = (s for s in Project.open(self.toml).status().stages if s.name == IMPORT)
        return {u.label: u.why for u in stage.pending}

    def query(self, text: str):
        connection = sqlite3.connect(self.path / "database.sqlite3")
        rows = connection.execute(text).fetchall()
        connection.close()
        return rows

    def states(self) -> dict[str, tuple[str, str]]:
        return {f.file: (f.state, f.comment) for f in Project.open(self.toml).status().frames}


@pytest.fixture(scope="module")
def _whole(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = Folder(tmp_path_factory.mktemp("reduction") / "campaign")
    rng = np.random.default_rng(12)
    for band in "ri":
        for i in range(2):
            image = CAMERA.read(rng, EXPTIME, scene(), band)
            write(folder.path / f"raw/{band}{i}.fits", image, CAMERA.header("Light Frame", EXPTIME, band))
    write_calibration(folder.path / "calibration")
    folder.configure(REDUCED)
    report = folder.run()
    assert report.exit_code == 0, report.message
    return folder


@pytest.fixture
def folder(_whole: Folder, tmp_path: Path) -> Folder:
    shutil.copytree(_whole.path, tmp_path / "campaign")
    return Folder(tmp_path / "campaign")


def aperture_fluxes(path: Path) -> np.ndarray:
    image, mask, _ = read_frame(path)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    out = []
    for px, py in PLACES:
        inside = np.hypot(x - px, y - py) < 9
        assert ((mask[inside] & ~np.uint8(PixelFlag.DEFECT)) == 0).all()
        out.append(image[inside].sum())
    return np.array(out)


def expected() -> tuple[float, float, int]:
    """Return a star's flux in the aperture, its error from photons alone, and the aperture's pixels."""
    light = scene() - SKY
    y, x = np.mgrid[: CAMERA.shape[0], : CAMERA.shape[1]]
    px, py = PLACES[4]
    inside = np.hypot(x - px, y - py) < 9
    return float(light[inside].sum()), float(np.sqrt((light[inside] + SKY).sum() / EXPTIME)), int(inside.sum())


def test_fluxes_against_truth(folder):
    flux, error, pixels = expected()
    for band in "ri":
        for i in range(2):
            ratio = aperture_fluxes(folder.path / f"frames/{band}{i}.fits") / flux
            scale = np.median(ratio)  # a flat of median 1 leaves one factor for all stars
            assert scale == pytest.approx(1, abs=0.01)
            # Beside the photons' the masters' noise, some 0.3 % a pixel, and the sky's: 0.02 e-/s a pixel.
            allowed = np.hypot(error * 1.2, 0.02 * pixels) / flux
            assert np.abs(ratio / scale - 1).max() < 4 * allowed, (ratio, allowed)
            assert np.std(ratio / scale) < 2 * allowed


def test_without_it_fluxes_are_biased(folder):
    folder.configure('[reduction]\nplugin = "none"\n')
    assert set(folder.pending()) == {"r0.fits", "r1.fits", "i0.fits", "i1.fits"}
    assert folder.run().exit_code == 0
    flux, error, _ = expected()
    for band in "ri":
        ratio = aperture_fluxes(folder.path / f"frames/{band}0.fits") / flux
        assert np.std(ratio / np.median(ratio)) > 10 * error / flux
        corner = ratio[[0, 2, 6, 8]].mean() / ratio[4]
        assert corner < 0.85
    assert folder.query("select distinct calibration from frames") == [("",)]


def test_sky_is_what_the_sky_is(folder):
    """Without bias and dark in it the sky level is the sky's; the frame's columns are gone and not flagged."""
    for level, rms in folder.query("select sky_level_electron_per_second, background_rms_electron_per_second from"
                                   " frames"):  # fmt: skip
        assert level == pytest.approx(SKY, rel=0.03)
        # Sky, dark and readout in 60 s, in the middle of the field.
        assert rms == pytest.approx(np.sqrt((SKY + 0.45) * 60 + 36) / 60, rel=0.12)
    image, mask, _ = read_frame(folder.path / "frames/r0.fits")
    assert not (mask & PixelFlag.BAD_LINE).any()
    np.testing.assert_array_equal((mask & PixelFlag.DEFECT) > 0, CAMERA.dead())
    assert np.abs(np.median(image, axis=0)).max() < 0.3  # e-/s; the bias's columns are 0.5 e-/s rms


def test_record_of_what_was_applied(folder):
    for name, text in folder.query("select original_image_path, calibration from frames"):
        band = Path(name).name[0]
        assert text == (
            "bias, SimCam 1 1, 220 x 200 (7 files); dark 150 s -10 C, SimCam 1 1, 220 x 200 (7 files); "
            f"flat {band}, SimCam 1 1, 220 x 200 (7 files)"
        )
    header = fits.getheader(folder.path / "frames/r0.fits", "IMAGE")
    assert any("reduced with flat r" in row for row in str(header["HISTORY"]).splitlines())
    masters = sorted((folder.path / "frames").glob("master_*.fits"))
    assert [fits.getheader(m)["NCOMBINE"] for m in masters] == [7, 7, 7, 7]


def test_masters_are_made_once_and_headers_read_once(folder, monkeypatch):
    assert folder.run().units_done == 0  # the files were moved: that is noted
    masters = {p: p.stat().st_mtime_ns for p in (folder.path / "frames").glob("master_*.fits")}
    from lcframework.frames import frame_list, raw_frames, reduction

    def never(*arguments: object) -> None:
        raise AssertionError("a file was read though nothing had changed")

    monkeypatch.setattr(raw_frames, "read_raw_header", never)
    monkeypatch.setattr(reduction, "file_digest", never)
    monkeypatch.setattr(frame_list, "file_digest", never)
    assert folder.pending() == {}
    assert folder.run().units_done == 0
    assert {p: p.stat().st_mtime_ns for p in masters} == masters


def test_stacks_too_large_for_memory(folder, monkeypatch):
    """They lie in a file without a name while a master is made; the master is the same."""
    from lcframework.frames import masters as module

    masters = sorted((folder.path / "frames").glob("master_*.fits"))
    before = [fits.getdata(m) for m in masters]
    shapes = []
    mapped = np.memmap

    def noted(*arguments, **options):
        shapes.append(options["shape"])
        return mapped(*arguments, **options)

    monkeypatch.setattr(module, "MAX_IN_MEMORY", 1)
    monkeypatch.setattr(module.np, "memmap", noted)
    assert Project.open(folder.toml).run(stop=IMPORT, force=[IMPORT]).exit_code == 0
    assert shapes == [(7, *CAMERA.shape)] * 4
    for path, image in zip(masters, before, strict=True):
        np.testing.assert_array_equal(fits.getdata(path), image)
    assert {p.suffix for p in folder.path.iterdir()} <= {
        "",
        ".toml",
        ".log",
        ".sqlite3",
        ".sqlite3-wal",
        ".sqlite3-shm",
    }


def test_another_flat_makes_its_filters_frames_pending(folder, lcf):
    rng = np.random.default_rng(20)
    flat = CAMERA.read(rng, 5.0, 7000.0, "r")
    write(folder.path / "calibration/flat/r7.fits", flat, CAMERA.header("Flat Field", 5.0, "r"))
    why = folder.pending()
    assert set(why) == {"flat r, SimCam 1 1, 220 x 200", "r0.fits", "r1.fits"}
    assert why["r0.fits"] == ("reduction.masters.flat r, SimCam 1 1, 220 x 200.calibration/flat/r7.fits is new",)
    told = lcf("status", folder.toml, "--why").out
    assert "2 units (r0.fits, ...): reduction.masters.flat r" in told
    assert "calibration/flat/r7.fits is new" in told
    assert folder.run().stages[-1].done == 3
    assert folder.pending() == {}


def test_changed_and_removed_files(folder):
    rng = np.random.default_rng(21)
    write(folder.path / "calibration/flat/i0.fits", CAMERA.read(rng, 5.0, 6000.0, "i"),
          CAMERA.header("Flat Field", 5.0, "i"))  # fmt: skip
    (folder.path / "calibration/flat/i1.fits").unlink()
    why = folder.pending()
    assert {"i0.fits", "i1.fits"} < set(why)
    assert not {"r0.fits", "r1.fits"} & set(why)
    text = "; ".join(why["i1.fits"])
    assert "flat/i0.fits: " in text
    assert "flat/i1.fits is gone" in text


def test_a_bias_less_makes_all_frames_pending(folder):
    (folder.path / "calibration/bias/b6.fits").unlink()
    assert len(folder.pending()) == 8  # four masters rest on it, and four frames
    assert folder.run().units_done == 8


def test_frames_wait_for_a_master_whose_making_fails(folder, monkeypatch):
    """They are not reduced with the one from before; once it is made, they are made again."""
    from lcframework.frames.masters import CombineMaster

    images = {n: read_frame(folder.path / f"frames/{n}.fits")[0] for n in ("r0", "i1")}
    rng = np.random.default_rng(22)
    for i in range(7):  # another bias level: dark and flat frames lose it too
        bias = CAMERA.read(rng, 0.0) + np.uint16(30)
        write(folder.path / f"calibration/bias/b{i}.fits", bias, CAMERA.header("Bias Frame", 0.0))

    def failing(self, values):
        raise ValueError("no luck")

    assert len(folder.pending()) == 8
    with monkeypatch.context() as patch:
        patch.setattr(CombineMaster, "compute", failing)
        report = folder.run()
    assert report.exit_code == 1
    assert any("no luck" in b.reason for b in report.bugs)
    assert "is not there. Where making it failed, see that failure" in report.message
    assert len(folder.pending()) == 8
    report = folder.run()
    assert (report.exit_code, report.units_done) == (0, 8)
    for name, before in images.items():
        assert not np.array_equal(read_frame(folder.path / f"frames/{name}.fits")[0], before)
    assert len(list((folder.path / "frames").glob("master_*.fits"))) == 4


def test_pixels_that_the_reduction_spoils_are_blank(folder, monkeypatch):
    from plugins_builtin.reductions.ccdproc import Ccdproc

    reduce = Ccdproc.reduce

    def dividing_by_zero(self, image, frame, masters):
        out, flags = reduce(self, image, frame, masters)
        out = np.array(out, np.float32)
        out[50, 60], out[51, 61] = np.nan, np.inf
        return out, flags

    monkeypatch.setattr(Ccdproc, "reduce", dividing_by_zero)
    assert Project.open(folder.toml).run(stop=IMPORT, force=[IMPORT]).exit_code == 0
    image, mask, _ = read_frame(folder.path / "frames/r0.fits")
    assert np.isfinite(image).all()
    assert [bool(mask[y, x] & PixelFlag.BLANK) for y, x in ((50, 60), (51, 61), (52, 62))] == [True, True, False]


def test_moved_project_has_nothing_to_do(folder, tmp_path):
    shutil.move(folder.path, tmp_path / "elsewhere")
    moved = Folder(tmp_path / "elsewhere")
    assert moved.pending() == {}


@pytest.mark.slow
def test_workers_make_the_same(folder):
    before = read_frame(folder.path / "frames/r1.fits")[0]
    shutil.rmtree(folder.path / "frames")
    (folder.path / "database.sqlite3").unlink()
    folder.toml.write_text(folder.toml.read_text().replace("workers = 1", "workers = 2"))
    report = folder.run()
    assert (report.exit_code, report.units_done) == (0, 9)  # the database, 4 masters, 4 frames
    np.testing.assert_array_equal(read_frame(folder.path / "frames/r1.fits")[0], before)


def test_no_flat_of_the_filter(folder):
    for path in (folder.path / "calibration/flat").glob("i*"):
        path.unlink()
    report = folder.run()
    assert report.exit_code == 3
    state, comment = folder.states()["i0.fits"]
    assert state == "eliminated"
    assert comment.startswith("no flat matches (filter i, INSTRUME = SimCam, XBINNING = 1")
    assert "there are 7 of filter r." in comment
    assert folder.states()["r0.fits"][0] != "eliminated"
    folder.configure(REDUCED + '[reduction.ccdproc]\nmissing = "skip"\n')
    assert folder.run().exit_code == 0
    ((text,),) = folder.query("select calibration from frames where original_image_path like '%i0.fits'")
    assert "dark" in text
    assert "flat" not in text


def rename_filters(folder: Path, cards: Callable[[str], dict[str, str]]) -> None:
    for path in [*folder.rglob("raw/*.fits"), *folder.rglob("calibration/**/*.fits")]:
        with fits.open(path, mode="update") as hdus:
            header = hdus[0].header
            header.update(cards(header.pop("FILTER", "r")))


def test_filters_are_those_that_the_header_parser_reads(folder):
    """Two filter wheels and no FILTER: flats of one filter calibrate its frames and no others, by the same flats."""
    before = {*folder.query("select distinct calibration from frames")}
    rename_filters(folder.path, lambda band: {"FILTER1": "Clear", "FILTER2": band})
    assert folder.run().exit_code == 0
    here = f"from frames where original_image_path like '{folder.path}%'"
    assert {*folder.query(f"select distinct calibration {here}")} == before
    assert folder.query(f"select distinct band, calibration like '%flat ' || band || ',%' {here} order by 1") == [
        ("i", 1), ("r", 1),
    ]  # fmt: skip
    assert {("r", 7), ("i", 7)} <= {
        *folder.query("select band, count(*) from exposures where kind = 'flat' group by 1")
    }


def test_a_filter_that_is_not_known_matches_none(folder):
    rename_filters(folder.path, lambda band: {})
    report = folder.run()
    assert report.exit_code == 3
    (reason,) = {u.reason.partition(": ")[2] or u.reason for u in report.unusable}
    assert "filter unknown" in reason
    assert "call it something by band" in reason
    folder.configure(REDUCED + '[header.fits]\nband = "open"\n')
    assert folder.run().exit_code == 0
    assert folder.query(f"select distinct band from frames where original_image_path like '{folder.path}%'") == [
        ("open",)
    ]


def test_a_name_for_the_band_does_not_join_filters(folder):
    """The option `band` says what frames are called; which flats are theirs is said by their own headers."""
    folder.configure(REDUCED + '[header.fits]\nband = "mine"\n')
    assert folder.run().exit_code == 0
    assert {("i", 7), ("r", 7)} <= {
        *folder.query("select band, count(*) from exposures where kind = 'flat' group by 1")
    }


def test_flats_out_of_range(folder):
    folder.configure(REDUCED + "[reduction.ccdproc]\nflat_levels = [20000.0, 30000.0]\n")
    report = folder.run()
    assert report.exit_code == 3
    comment = folder.states()["r0.fits"][1]
    assert "flat r, SimCam 1 1, 220 x 200 (7 files), which can't be made: the levels of all 7 flats" in comment
    levels = [5.0 * (6000.0 + 300 * i) * np.median(CAMERA.sensitivity("r")) / CAMERA.gain for i in range(7)]  # ADU
    limit = 0.5 * (levels[2] + levels[3])  # 375 ADU from either, where a median is good to one or two
    folder.configure(REDUCED + f"[reduction.ccdproc]\nflat_levels = [{limit}, inf]\n")
    assert folder.run().exit_code == 0
    headers = [fits.getheader(p) for p in (folder.path / "frames").glob("master_*.fits")]
    assert sorted((h["KIND"], h["NCOMBINE"]) for h in headers) == [("bias", 7), ("dark", 7), ("flat", 4), ("flat", 4)]
    assert {f"calibration/flat/r{i}.fits" for i in range(3, 7)} in [set(h["HISTORY"]) for h in headers]


def test_calibration_frames_among_the_raw_ones(folder):
    """A night's folder with everything in it: each file is taken for what its header says."""
    for path in (folder.path / "calibration").rglob("*.fits"):
        shutil.copy(path, folder.path / "raw" / f"{path.parent.name}_{path.name}")
    folder.configure(REDUCED.replace('"ccdproc"', '"ccdproc"\ndirs = ["raw"]'))
    report = folder.run()
    assert report.exit_code == 0
    states = folder.states()
    assert states["flat_r0.fits"] == ("eliminated", "a calibration frame by its header: flat")
    assert sum(s == "imported" for s, _ in states.values()) == 4
    ((text,),) = folder.query("select calibration from frames where original_image_path like '%/r0.fits'")
    assert "flat r" in text


def test_settings_of_one_instrument(folder):
    other = attrs.evolve(CAMERA, instrument="OtherCam")
    write(folder.path / "raw/other.fits", CAMERA.read(np.random.default_rng(5), EXPTIME, scene(), "r"),
          other.header("Light Frame", EXPTIME, "r"))  # fmt: skip
    assert folder.run().exit_code == 3
    assert "there are 7 of INSTRUME = SimCam" in folder.states()["other.fits"][1]
    folder.configure(REDUCED + '[instrument.OtherCam.reduction]\nplugin = "none"\n')
    report = folder.run()
    assert report.exit_code == 0
    calibrations = dict(folder.query("select original_image_path, calibration from frames"))
    assert calibrations[str(folder.path / "raw/other.fits")] == ""
    assert calibrations[str(folder.path / "raw/r0.fits")]


def test_files_that_take_no_part_are_named(folder, lcf):
    (folder.path / "calibration/broken.fits").write_bytes(b"nothing")
    write(folder.path / "calibration/odd.fits", np.zeros((5, 5), np.int16), fits.Header({"IMAGETYP": "focus"}))
    assert folder.pending() == {}
    assert folder.run().exit_code == 0
    remarks = [c.text for c in Project.open(folder.toml).doubts()]
    assert any(r.startswith("calibration/broken.fits takes no part in the reduction: ") for r in remarks)
    assert any("calibration/odd.fits" in r for r in remarks)
    told = lcf("status", folder.toml)
    for i in range(5):  # one sentence for all that share a reason
        (folder.path / f"calibration/broken{i}.fits").write_bytes(b"nothing")
    assert folder.run().exit_code == 0
    (said,) = (c.text for c in Project.open(folder.toml).doubts() if "take no part" in c.text)
    assert said.startswith(
        "6 files take no part in the reduction (calibration/broken.fits, calibration/broken0.fits, "
        "calibration/broken1.fits, ...); of the first: broken.fits can't be read"
    )
    assert "Note: 1 files of [reduction] dirs are no calibration frames by their headers: calibration/odd" in told.err


def test_excluded_name_that_no_file_has_is_told(folder, lcf):
    folder.configure('[frames]\nexclude = ["r00.fits"]')
    for command in ("status", "run"):
        arguments = ["--stop", IMPORT] if command == "run" else []
        told = lcf(command, folder.toml, *arguments)
        assert told.code == 0
        assert 'Note: [frames] exclude names "r00.fits", and no file is called so; the nearest: r0.fits' in told.err
    assert "r0.fits" in Project.open(folder.toml).doubts()[0].text


def test_folder_that_is_not_there(folder):
    folder.configure(REDUCED.replace('"ccdproc"', '"ccdproc"\ndirs = ["nowhere"]'))
    report = folder.run()
    assert report.exit_code == 1
    assert '[reduction] dirs: "nowhere" is not a folder' in report.message


PLUGIN = """
import attrs
from lcframework.hookspecs import hookimpl
from lcframework.types import Exposure, MasterPlan

@attrs.frozen
class Odd:
    mode: str = "bug"
    def describe(self, header, path, shape):
        return Exposure(path.name, str(header["IMAGETYP"]).split()[0].lower(), shape=shape)
    def plan(self, frame, calibrations):
        if self.mode == "bug":
            return 1 / 0
        return (MasterPlan("none", "bias", ("nowhere.fits",)),)
    def combine(self, plan, members, images, masters):
        raise ValueError("never called")
    def reduce(self, image, frame, masters):
        return image, image * 0

@hookimpl
def lcf_reductions():
    return {"odd": Odd}
"""


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (
            "bug",
            r"\[reduction\] odd \(reduction-odd of odd-reduction .*plan raised ZeroDivisionError.*odd_reduction\.py",
        ),
        ("nowhere", r"not there: \['nowhere\.fits'\]"),
    ],
)
def test_plugin_with_a_bug_is_named(folder, install, mode, words):
    install("odd-reduction", PLUGIN, {"reduction-odd": "odd_reduction"})
    folder.configure(f'[reduction]\nplugin = "odd"\n[reduction.odd]\nmode = "{mode}"\n')
    report = folder.run()
    assert report.exit_code == 1
    assert re.search(words, report.message)
