"""Products on disk: never half written, and read back as they were."""

from __future__ import annotations

import subprocess
import sys

import attrs
import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from lcframework.storage import hdf5, regions_file
from lcframework.storage.estimate_files import FrameEstimates, read_estimates, write_estimates
from lcframework.storage.files import atomic, remove_leftovers
from lcframework.storage.frame_files import (
    make_wcs,
    read_frame,
    read_frame_header,
    read_table,
    read_wcs,
    write_frame,
    write_table,
    write_wcs,
)
from lcframework.storage.psf_files import read_psf, write_psf
from lcframework.storage.regions_file import REGIONS, FrameFiles, write_regions
from lcframework.storage.stamp_files import Stamp, read_stamps, write_stamps
from lcframework.types import PSF, DamagedProduct, FitState, FitStatus, PixelFlag


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_atomic_write(tmp_path):
    with atomic(tmp_path / "new" / "file") as temporary:
        assert not (tmp_path / "new" / "file").exists()
        temporary.write_text("all of it")
    assert (tmp_path / "new" / "file").read_text() == "all of it"
    assert names(tmp_path / "new") == ["file"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_write_that_breaks_off_leaves_the_old_file(tmp_path, error):
    (tmp_path / "file").write_text("old")

    def break_off():
        with atomic(tmp_path / "file") as temporary:
            temporary.write_text("ne")
            raise error

    with pytest.raises(error):
        break_off()
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_hdf5_that_breaks_off_is_not_there(tmp_path):
    class Bad:
        shape = (6, 6)

        def __array__(self, *_, **__):
            raise MemoryError

    good = stamp(1.0)
    bad = Stamp(Bad(), good.noise, good.mask, good.corner, good.offset, good.wcs)
    with pytest.raises(MemoryError):
        write_stamps(tmp_path / "stamps.h5", {"1": good, "2": bad}, (10, 12))
    assert names(tmp_path) == []


def test_killed_process_leaves_a_leftover_that_the_next_run_removes(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from lcframework.storage.files import atomic\n"
        "with atomic(Path(sys.argv[1]) / 'file') as temporary:\n    temporary.write_text('half'); os._exit(9)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, tmp_path / "frames"])
    assert child.wait() == 9
    assert names(tmp_path / "frames") == [f".file.{child.pid}.tmp"]
    (tmp_path / "raw").mkdir()
    for path in (tmp_path / ".mine.tmp", tmp_path / "raw" / ".file.1.tmp", tmp_path / "frames" / ".notes.tmp"):
        path.write_text("the user's")
    remove_leftovers(tmp_path)
    assert names(tmp_path / "frames") == [".notes.tmp"]
    assert (tmp_path / ".mine.tmp").exists()
    assert (tmp_path / "raw" / ".file.1.tmp").exists()


def test_frame(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(20, 30)).astype(np.float32)
    mask = np.zeros((20, 30), np.uint8)
    mask[3, 4] = PixelFlag.SATURATED | PixelFlag.HOT
    header = fits.Header({"OBJECT": "x", "BZERO": 32768, "BSCALE": 1, "GAIN": 2.5})
    write_frame(tmp_path / "a.fits", image, mask, header)
    back, flags, read = read_frame(tmp_path / "a.fits")
    np.testing.assert_array_equal(back, image)
    np.testing.assert_array_equal(flags, mask)
    assert read["GAIN"] == 2.5
    with fits.open(tmp_path / "a.fits") as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "IMAGE", "MASK"]
        assert (hdus["IMAGE"].header["OBJECT"], "BZERO" in hdus["IMAGE"].header) == ("x", False)
    assert read_frame_header(tmp_path / "a.fits")["NAXIS1"] == 30
    np.testing.assert_array_equal(fits.getdata(tmp_path / "a.fits"), image)
    write_frame(tmp_path / "a.fits", back, flags, read)  # as plate solving does
    np.testing.assert_array_equal(read_frame(tmp_path / "a.fits")[0], image)


def sky_subtracted(rng, sky, brightest, flat=False):
    """A frame as the import makes them: counts in e-/s less a smooth sky, in single precision."""
    counts = rng.poisson(sky, (300, 400)).astype(np.float32)
    if flat:
        counts /= rng.normal(1, 0.02, counts.shape).astype(np.float32)
    counts[100:104, 200:230] = brightest
    slope = np.float32(sky) + np.linspace(0, 3, 400, dtype=np.float32)
    return counts * np.float32(0.013) - slope * np.float32(0.013)


def whole_steps(rng, brightest):
    """Multiples of one step, the least one odd, and one pixel that takes all bits."""
    image = (rng.integers(-20000, 20000, (300, 400)) * 2.0**-20).astype(np.float32)
    image[0, 0], image[3, 4] = -20001 * 2.0**-20, brightest * 2.0**-20
    return image


@pytest.mark.parametrize(
    ("image", "most"),
    [
        (lambda rng: sky_subtracted(rng, 900, 65000), 0.68),
        (lambda rng: sky_subtracted(rng, 900, 65000, flat=True), 0.68),
        (lambda rng: sky_subtracted(rng, 300, 3e6), 0.8),  # tiles with the star need more than 32 bits
        (lambda rng: whole_steps(rng, 2**31 - 256), 0.8),
        (lambda rng: whole_steps(rng, 2**31 + 512), 0.8),  # the tile's numbers are counted from its middle
        (lambda rng: whole_steps(rng, 2**32 + 512), 0.8),
        (lambda rng: rng.normal(0, 0.1, (300, 400)).astype(np.float32), 1.0),  # no common step
        (lambda rng: np.where(rng.random((300, 400)) < 0.1, np.float32(np.inf), np.float32(0.25)), 1.0),
        (lambda rng: np.zeros((300, 400), np.float32), 1.0),
        (lambda rng: np.full((300, 400), 1e-42, np.float32), 1.0),
    ],
)
def test_frames_are_compressed_without_loss(tmp_path, image, most):
    image = image(np.random.default_rng(4))
    write_frame(tmp_path / "a.fits", image, np.zeros(image.shape, np.uint8), fits.Header())
    np.testing.assert_array_equal(read_frame(tmp_path / "a.fits")[0], image)
    assert (tmp_path / "a.fits").stat().st_size < most * image.nbytes + 20_000


def test_frames_of_earlier_versions_are_read(tmp_path):
    image, header = np.ones((4, 5), np.float32), fits.Header({"OBJECT": "x"})
    flags = fits.ImageHDU(np.full((4, 5), 3, np.uint8), name="MASK")
    fits.HDUList([fits.PrimaryHDU(image, header), flags]).writeto(tmp_path / "a.fits")
    back, mask, read = read_frame(tmp_path / "a.fits")
    assert (back.sum(), mask[0, 0], read["OBJECT"]) == (20, 3, "x")
    assert read_frame_header(tmp_path / "a.fits")["NAXIS2"] == 4


@pytest.mark.parametrize("content", [b"", b"not FITS at all", None])
def test_damaged_frame(tmp_path, content):
    path = tmp_path / "a.fits"
    if content is not None:
        path.write_bytes(content)
    # One that is missing may be on a share that is away; what is garbled is made again.
    with pytest.raises(FileNotFoundError if content is None else DamagedProduct, match=r"a\.fits"):
        read_frame(path)


def test_table_and_wcs(tmp_path):
    table = Table({"x": [1.0, 2.0], "flags": [0, 1], "name": ["a", "bb"]})
    write_table(tmp_path / "t.fits", table)
    back = read_table(tmp_path / "t.fits")
    assert back.colnames == table.colnames
    np.testing.assert_array_equal(back["x"], table["x"])
    header = wcs_header()
    write_wcs(tmp_path / "a.wcs", header)
    wcs = read_wcs(tmp_path / "a.wcs")
    np.testing.assert_allclose(wcs.all_pix2world(5, 7, 0), make_wcs(header).all_pix2world(5, 7, 0), rtol=0, atol=1e-12)


def wcs_header():
    header = fits.Header()
    header.update(
        CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRVAL1=10.123456789, CRVAL2=-20.0, CRPIX1=10.5, CRPIX2=11.5,
        CD1_1=-5e-5, CD1_2=1e-6, CD2_1=1e-6, CD2_2=5e-5,
    )  # fmt: skip
    return header


def stamp(value, n=6):
    data = np.full((n, n), value, np.float32)
    data[1, 2] = -3
    mask = np.zeros((n, n), np.uint8)
    mask[0, 0] = PixelFlag.COSMIC | PixelFlag.NEIGHBOUR
    mask[0, 1] = PixelFlag.SATURATED
    return Stamp(data, data * 0 + 0.5, mask, (3, 4), (0.25, -0.125), "CRPIX1  = 3")


def test_stamps(tmp_path):
    path = tmp_path / "stamps.h5"
    write_stamps(path, {"101": stamp(1.0), "ROI2": stamp(2.0, 9)}, (10, 12))
    back = read_stamps(path)
    assert set(back) == {"101", "ROI2"}
    assert set(read_stamps(path, ["101", "gone"])) == {"101"}
    one = back["ROI2"]
    np.testing.assert_array_equal(one.data, stamp(2.0, 9).data)
    np.testing.assert_array_equal(one.mask, stamp(2.0, 9).mask)
    assert one.corner == (3, 4)
    assert one.offset == pytest.approx((0.25, -0.125))
    assert one.centre == (7.0, 8.0)
    assert one.wcs == "CRPIX1  = 3"
    with h5py.File(path) as file:
        assert file["cosmicsmask/101"][()].sum() == 1
        np.testing.assert_allclose(file["image_pixel_coordinates/101"], [3 + 2.5 + 0.25, 4 + 2.5 - 0.125])


def psf():
    rng = np.random.default_rng(1)
    narrow = rng.random((8, 8))
    return PSF(
        narrow / narrow.sum(), narrow, 2, 2.0, FitStatus(FitState.CONVERGED, 12), 1.1,
        distortion={"dilation_x": np.array([1.0, 2.0]), "shear": np.eye(2)}, frame_shape=(100, 200),
        star_chi2=np.array([1.0, 2.0]), residuals=rng.random((2, 4, 4)), outliers=np.zeros((2, 4, 4), bool),
        loss_history=np.array([3.0, 2.0]), precision=np.full((4, 4), 2.5), mean_residual=np.full((4, 4), -0.5),
    )  # fmt: skip


def test_psf(tmp_path):
    write_psf(tmp_path / "psf.h5", psf(), ["101", "102"])
    back = read_psf(tmp_path / "psf.h5")
    np.testing.assert_array_equal(back.narrow, psf().narrow)
    assert (back.subsampling_factor, back.target_fwhm, back.frame_shape) == (2, 2.0, (100, 200))
    assert set(back.distortion) == {"dilation_x", "shear"}
    np.testing.assert_array_equal(back.precision, psf().precision)
    np.testing.assert_array_equal(back.mean_residual, psf().mean_residual)
    with h5py.File(tmp_path / "psf.h5") as file:
        assert {"narrow_psf", "full_psf", "subsampling_factor", "distortion"} <= set(file)


@pytest.fixture
def regions(tmp_path):
    frames = {}
    for key in ("night1", "night2"):
        stamps, model = f"regions/{key}/stamps_1.h5", f"regions/{key}/psf_1.h5"
        write_stamps(tmp_path / stamps, {"101": stamp(1.0), "J0248": stamp(2.0)}, (10, 12))
        write_psf(tmp_path / model, psf(), ["101"])
        frames[key] = FrameFiles([stamps], {"abc": model})
    write_regions(tmp_path, frames, "J0248")
    return tmp_path


def test_regions_file_reads_as_documented(regions, monkeypatch):
    """The documented snippet, drawing left out."""
    monkeypatch.chdir(regions)
    with h5py.File("regions.h5", "r") as f:
        frames = f["frames"]
        frame = frames[list(f["frames"].keys())[1]]
        data = frame["data"]
        objs = sorted(data.keys())
        objs = objs[-5:]
        images = [data[obj][:] for obj in objs]
        assert objs == ["101", "J0248", "ROI"]
        assert images[1].shape == (6, 6)
        np.testing.assert_array_equal(images[1], images[2])
        assert tuple(frame["frame_shape"]) == (10, 12)
        assert frame["psf_abc"]["narrow_psf"].shape == (8, 8)
        assert isinstance(f.get("frames", getlink=True), h5py.HardLink)


def test_region_that_is_called_as_the_alias(tmp_path):
    """The name means that region in every frame, also in those that do not show it."""
    write_stamps(tmp_path / "s1.h5", {"J0248": stamp(2.0)}, (10, 12))
    write_stamps(tmp_path / "s2.h5", {"J0248": stamp(2.0), "ROI": stamp(4.0)}, (10, 12))
    write_regions(tmp_path, {"night1": FrameFiles(["s1.h5"]), "night2": FrameFiles(["s2.h5"])}, "")
    with h5py.File(tmp_path / REGIONS) as file:
        found = {key: {name: d[0, 0] for name, d in frame["data"].items()} for key, frame in file["frames"].items()}
    assert found == {"night1": {"J0248": 2.0}, "night2": {"J0248": 2.0, "ROI": 4.0}}


def test_regions_file_is_read_from_anywhere_and_may_move(regions, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("moved") / "work"
    regions.rename(elsewhere)
    monkeypatch.chdir("/")
    with h5py.File(elsewhere / REGIONS) as file:
        assert file["frames/night1/noisemap/ROI"][0, 0] == 0.5


def test_regions_file_is_replaced_while_it_is_read(regions):
    with h5py.File(regions / REGIONS) as file:
        write_regions(regions, {"night1": FrameFiles(["regions/night1/stamps_1.h5"])}, "J0248")
        assert set(file["frames"]) == {"night1", "night2"}
    with h5py.File(regions / REGIONS) as file:
        assert set(file["frames"]) == {"night1"}


def test_identifiers_with_odd_letters(tmp_path):
    odd = {"2MASS J1 2+3": stamp(1.0), "é": stamp(4.0)}
    write_stamps(tmp_path / "s.h5", odd, (10, 10))
    assert {k: v.data[0, 0] for k, v in read_stamps(tmp_path / "s.h5").items()} == {
        k: v.data[0, 0] for k, v in odd.items()
    }
    write_regions(tmp_path, {"f": FrameFiles(["s.h5"])}, "")
    with h5py.File(tmp_path / REGIONS) as file:
        assert len(file["frames/f/data"]) == 2


def layout(folder):
    """Everything that `regions.h5` shows, by path."""
    out = {}
    with h5py.File(folder / REGIONS) as file:
        for key, frame in file["frames"].items():
            out[key, "links"] = {name: frame.get(name, getlink=True).__class__ for name in frame}
            for kind in ("data", "noisemap", "mask", "wcs", "cosmicsmask", "image_pixel_coordinates"):
                for name, values in frame[kind].items():
                    out[key, kind, name] = values[()].tobytes() if kind != "wcs" else values[()]
    return out


def test_regions_file_costs_what_is_new(regions, monkeypatch):
    """Groups of frames that have not changed are copied, and equal what is made from nothing."""
    made = []
    whole = regions_file._link_frame
    monkeypatch.setattr(
        regions_file, "_link_frame", lambda group, *rest: (made.append(group.name), whole(group, *rest))
    )
    files = {key: FrameFiles([f"regions/{key}/stamps_1.h5"], {"abc": f"regions/{key}/psf_1.h5"})
             for key in ("night1", "night2")}  # fmt: skip
    assert write_regions(regions, files, "J0248") == {}
    assert made == []
    write_stamps(regions / "regions/night3/stamps_1.h5", {"101": stamp(7.0)}, (10, 12))
    files = {"night2": files["night2"], "night3": FrameFiles(["regions/night3/stamps_1.h5"])}
    assert write_regions(regions, files, "J0248") == {"night1": {"regions/night1"}, "night3": {"regions/night3"}}
    assert made == ["/frames/night3"]
    added = layout(regions)
    assert added["night3", "data", "101"] == stamp(7.0).data.tobytes()
    (regions / REGIONS).unlink()
    write_regions(regions, files, "J0248")
    assert layout(regions) == added


def test_regions_file_does_not_grow_with_replacements(regions):
    files = {f"f{i}": FrameFiles(["regions/night1/stamps_1.h5"]) for i in range(4)}
    write_regions(regions, files, "J0248")
    first = (regions / REGIONS).stat().st_size
    for i in range(30):
        psf = {f"p{i}": "regions/night1/psf_1.h5"}
        write_regions(regions, {**files, "f1": FrameFiles(files["f1"].stamps, psf)}, "J0248")
    assert (regions / REGIONS).stat().st_size < 2 * first


def test_regions_of_several_fields_and_of_another_first_region(regions):
    """A frame's stamps may lie in several files, and their alias may be of a region that was the first one before."""
    write_stamps(regions / "s2.h5", {"102": stamp(5.0), "J1206": stamp(6.0)}, (10, 12), alias_of="J1206")
    both = FrameFiles(["regions/night1/stamps_1.h5", "s2.h5"])
    write_regions(regions, {"night1": both, "night2": FrameFiles(["s2.h5"])}, "J0248")
    with h5py.File(regions / REGIONS) as file:
        assert set(file["frames/night1/data"]) == {"101", "102", "J0248", "J1206", "ROI"}
        assert file["frames/night1/data/ROI"][0, 0] == 2.0
        assert set(file["frames/night2/data"]) == {"102", "J1206"}
    write_regions(regions, {"night1": both, "night2": FrameFiles(["s2.h5"])}, "J1206")
    with h5py.File(regions / REGIONS) as file:
        assert file["frames/night1/data/ROI"][0, 0] == file["frames/night2/data/ROI"][0, 0] == 6.0
        assert file["frames/night2/wcs/ROI"][()] == b"CRPIX1  = 3"


def test_stamps_of_earlier_versions_are_read(tmp_path):
    """They have each stamp's corner and WCS in datasets of their own."""
    one = stamp(3.0)
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["frame_shape"] = (10, 12)
        for kind, value in (
            ("data", one.data), ("noisemap", one.noise), ("mask", one.mask), ("cosmicsmask", one.mask > 99),
            ("image_pixel_coordinates", np.add(one.centre, one.offset)), ("corner", one.corner), ("wcs", one.wcs),
        ):  # fmt: skip
            file[f"{kind}/101"] = value
            file[f"{kind}/J0248"] = value
    back = read_stamps(tmp_path / "old.h5")["101"]
    assert (back.corner, back.offset, back.wcs) == (one.corner, one.offset, one.wcs)
    np.testing.assert_array_equal(back.data, one.data)
    write_regions(tmp_path, {"f": FrameFiles(["old.h5"])}, "J0248")
    with h5py.File(tmp_path / REGIONS) as file:
        np.testing.assert_array_equal(file["frames/f/data/ROI"], one.data)


def test_files_are_small_and_exact(tmp_path):
    """Noisy stamps take their bytes; masks that are alike, WCSs and positions next to none. Residuals are rounded."""
    rng = np.random.default_rng(2)
    wcs = "\n".join(f"CARD{i:4}= {i:20} / what it means".ljust(80) for i in range(20))
    stamps = {}
    for i in range(58):
        mask = np.zeros((24, 24), np.uint8)
        mask[i % 3] = PixelFlag.NEIGHBOUR
        data = rng.normal(0, 0.1, (24, 24)).astype(np.float32)
        stamps[f"54600396525808{i:05}"] = Stamp(data, np.abs(data) + 1, mask, (i, 2 * i), (0.1 / 3, i / 7), f"{wcs}{i}")
    write_stamps(tmp_path / "s.h5", stamps, (512, 512))
    assert (tmp_path / "s.h5").stat().st_size < 58 * (24 * 24 * 8 + 1700)
    for name, back in read_stamps(tmp_path / "s.h5").items():
        was = stamps[name]
        for one, other in ((back.data, was.data), (back.noise, was.noise), (back.mask, was.mask)):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
        assert (back.corner, back.wcs) == (was.corner, was.wcs)
        assert back.offset == pytest.approx(was.offset, abs=1e-12)
    values = np.array([np.nan, -1.2345678, 3e-9, 0.0, 1e30, np.inf])
    np.testing.assert_allclose(hdf5.rounded(values, 8), values, rtol=2**-8)


def test_estimates_of_this_and_of_earlier_versions(tmp_path):
    rows = [{"frame_id": 3, "gaia_id": name, "flux": 1.5 * i, "status": "é"} for i, name in enumerate(("12", "3"))]
    rng = np.random.default_rng(3)
    made = FrameEstimates(rows, np.array([1.0, 2.0]), rng.random((2, 2)), rng.random((2, 2, 2)))
    write_estimates(tmp_path / "new.h5", made)
    with h5py.File(tmp_path / "old.h5", "w") as file:
        for name in rows[0]:
            column = [row[name] for row in rows]
            text = isinstance(column[0], str)
            file[f"rows/{name}"] = np.array(column, h5py.string_dtype()) if text else column
        file["radii"], file["light"], file["covariance"] = made.radii, made.light, made.covariance
    for name in ("new.h5", "old.h5"):
        back = read_estimates(tmp_path / name)
        assert back.rows == rows
        np.testing.assert_array_equal(back.covariance, made.covariance)
    none = FrameEstimates([], made.radii, np.zeros((0, 2)), np.zeros((0, 2, 2)))
    write_estimates(tmp_path / "none.h5", none)
    assert read_estimates(tmp_path / "none.h5").rows == []


def test_what_stars_exceed_a_psf_by_is_of_the_image_of_its_precision() -> None:
    with pytest.raises(ValueError, match=r"mean_residual has the shape \(3, 3\), and its precision \(4, 4\)"):
        attrs.evolve(psf(), mean_residual=np.zeros((3, 3)))
    assert not attrs.evolve(psf(), mean_residual=np.zeros((0, 0))).mean_residual.size
