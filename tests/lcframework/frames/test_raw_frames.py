"""Raw FITS files of every make."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from lcframework.config.sections import Frames
from lcframework.frames.raw_frames import read_raw, read_raw_header
from lcframework.storage.frame_files import read_frame, write_frame
from lcframework.types import UnusableInput

SHAPE = (40, 60)


def counts(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).poisson(500, shape)


def wcs_cards():
    return fits.Header({
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0, "CRPIX1": 30.5, "CRPIX2": 20.5,
        "CDELT1": -1e-4, "CDELT2": 1e-4,
    })  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["int16", "uint16", "int32", "uint32", "float32", "float64", ">f4", "<f8", "uint8", "int8"]
)
def test_number_formats(tmp_path, kind):
    data = (counts() % 100).astype(kind)
    fits.PrimaryHDU(data).writeto(tmp_path / "a.fits")
    raw = read_raw(tmp_path / "a.fits", Frames())
    assert raw.image.dtype == np.float32
    assert raw.image.dtype.isnative
    np.testing.assert_array_equal(raw.image, data.astype(np.float32))


def test_scaled_and_blank_pixels(tmp_path):
    data = counts().astype(np.int16)
    data[3, 4] = -32768
    hdu = fits.PrimaryHDU(data)
    hdu.header["BLANK"] = -32768
    hdu.header["BZERO"], hdu.header["BSCALE"] = 100.0, 2.0
    fits.HDUList([hdu]).writeto(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].data[:] = data
    raw = read_raw(tmp_path / "a.fits", Frames())
    assert np.isnan(raw.image[3, 4])
    assert raw.image[0, 0] == data[0, 0] * 2.0 + 100.0
    assert not {"BZERO", "BSCALE", "BLANK"} & set(raw.header)


@pytest.mark.parametrize("scaled", [(1.0, 32768.0), (1.0, 0.0), (0.5, 100.0)])
def test_blank_pixels_of_unsigned_and_scaled_integers(tmp_path, scaled):
    """Unsigned 16-bit integers are signed ones with a BZERO: their BLANK must not come out as a number."""
    scale, zero = scaled
    data = (counts() - 300).astype(">i2")
    data[3, 4] = -32768
    header = fits.PrimaryHDU(data).header
    header["BSCALE"], header["BZERO"], header["BLANK"] = scale, zero, -32768
    content = header.tostring().encode() + data.tobytes()
    (tmp_path / "a.fits").write_bytes(content + bytes(-len(content) % 2880))
    image = read_raw(tmp_path / "a.fits", Frames()).image
    assert np.argwhere(np.isnan(image)).tolist() == [[3, 4]]
    data[3, 4] = 0
    image[3, 4] = zero
    np.testing.assert_allclose(image, data * scale + zero, rtol=1e-6)


def test_headers_of_several_hdus_are_merged(tmp_path):
    primary = fits.PrimaryHDU(header=fits.Header({"EXPTIME": 10.0, "OBJECT": "primary"}))
    image = fits.ImageHDU(counts().astype(np.int16), fits.Header({"GAIN": 2.0, "OBJECT": "image"}))
    other = fits.ImageHDU(counts(1).astype(np.int16), fits.Header({"GAIN": 3.0, "DATE-OBS": "2024-01-01"}))
    fits.HDUList([primary, image, other]).writeto(tmp_path / "a.fits")
    extras = [fits.ImageHDU(None, fits.Header({"AIRMASS": a})) for a in (1.2, 1.3)]
    fits.HDUList([primary, image, *extras]).writeto(tmp_path / "b.fits")
    header = read_raw(tmp_path / "a.fits", Frames(hdu_data=1, hdu_headers=[0, 2])).header
    assert header["EXPTIME"] == 10.0
    assert header["DATE-OBS"] == "2024-01-01"
    assert header["GAIN"] == 2.0  # the image's own header comes last
    assert header["OBJECT"] == "image"
    for order, airmass in (([0, 2, 3], 1.3), ([0, 3, 2], 1.2)):  # among those named, the later one wins
        assert read_raw(tmp_path / "b.fits", Frames(hdu_data=1, hdu_headers=order)).header["AIRMASS"] == airmass
    with pytest.raises(UnusableInput, match="hdu_headers asks for 5"):
        read_raw(tmp_path / "a.fits", Frames(hdu_data=1, hdu_headers=[5]))
    with pytest.raises(UnusableInput, match=r"no two-dimensional image in HDU 0; HDUs with one: 1, 2"):
        read_raw(tmp_path / "a.fits", Frames())


def extensions(*names, hdu=fits.ImageHDU):
    """Return an empty HDU and images of these names, and a table in their midst."""
    table = fits.BinTableHDU.from_columns([fits.Column("x", "D", array=np.arange(3.0))], name="CAT")
    images = [hdu(counts(i).astype(np.int16), fits.Header({"GAIN": 2.0 + i}), name=n) for i, n in enumerate(names)]
    return fits.HDUList([fits.PrimaryHDU(header=fits.Header({"EXPTIME": 3.0})), table, *images])


@pytest.mark.parametrize("hdu", [fits.ImageHDU, fits.CompImageHDU])
@pytest.mark.parametrize(
    "names",
    [("SCI", "BPM", "ERR"), ("CAMERA.CCD 1.2 cal", "UNCERTAINTY"), ("im1",), ("",), ("IMAGE", "MASK", "VARIANCE")],
)
def test_the_one_exposure_of_an_extension(tmp_path, names, hdu):
    extensions(*names, hdu=hdu).writeto(tmp_path / "a.fits")
    raw = read_raw(tmp_path / "a.fits", Frames())
    np.testing.assert_array_equal(raw.image, counts(0))
    assert (raw.header["GAIN"], raw.header["EXPTIME"]) == (2.0, 3.0)
    assert read_raw_header(tmp_path / "a.fits", Frames())[0]["GAIN"] == 2.0


@pytest.mark.parametrize(
    ("names", "found"),
    [(("SCI", "ERR", "SCI"), r"2 \(SCI\), 3 \(ERR\), 4 \(SCI\)"), (("BPM",), r"2 \(BPM\)"), (("", ""), "2, 3")],
)
def test_several_exposures_or_none_are_not_chosen_from(tmp_path, names, found):
    extensions(*names).writeto(tmp_path / "a.fits")
    with pytest.raises(UnusableInput, match=rf"no two-dimensional image in HDU 0; HDUs with one: {found} "):
        read_raw(tmp_path / "a.fits", Frames())
    with pytest.raises(UnusableInput, match="no two-dimensional image in HDU 1"):
        read_raw(tmp_path / "a.fits", Frames(hdu_data=1))


@pytest.mark.parametrize("name", ["APERTURE", "SMEAR"])
def test_images_in_a_table_or_a_cube_are_exposures_too(tmp_path, name):
    """Cutouts of satellites: all exposures in one file, and an image beside them that is none."""
    image = fits.ImageHDU(counts().astype(np.int16), name=name)
    pixels = fits.Column("FLUX", "6E", dim="(3,2)", array=np.zeros((4, 2, 3)))
    for several in (fits.BinTableHDU.from_columns([pixels], name="PIXELS"), fits.ImageHDU(np.zeros((4, 9, 9)))):
        fits.HDUList([fits.PrimaryHDU(), several, image]).writeto(tmp_path / "a.fits", overwrite=True)
        with pytest.raises(UnusableInput, match=rf"HDUs with one: 2 \({name}\)"):
            read_raw(tmp_path / "a.fits", Frames())


@pytest.mark.parametrize("compression", ["RICE_1", "GZIP_2", "HCOMPRESS_1"])
def test_compressed_images(tmp_path, compression):
    data = counts().astype(np.int16)
    image = fits.CompImageHDU(data, fits.Header({"GAIN": 2.0}), compression_type=compression)
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "a.fits.fz")
    raw = read_raw(tmp_path / "a.fits.fz", Frames())
    np.testing.assert_array_equal(raw.image, data)
    assert raw.header["GAIN"] == 2.0
    assert "ZIMAGE" not in raw.header


@pytest.mark.parametrize("compression", ["RICE_1", "GZIP_1"])
@pytest.mark.parametrize("kind", ["uint16", "blank", "float"])
def test_what_compression_keeps(tmp_path, compression, kind):
    rng = np.random.default_rng(5)
    data = {"uint16": counts().astype(np.uint16) + 40000, "blank": counts().astype(np.int16),
            "float": rng.normal(100, 5, SHAPE).astype(np.float32)}[kind]  # fmt: skip
    expected = data.astype(np.float32)
    if kind != "uint16":
        data[5, 6], expected[5, 6] = (-32768 if kind == "blank" else np.nan), np.nan
    image = fits.CompImageHDU(data, compression_type=compression, quantize_level=16)
    if kind == "blank":
        image.header["BLANK"] = -32768
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "a.fits.fz")
    raw = read_raw(tmp_path / "a.fits.fz", Frames(trim_vertical=2, trim_horizontal=4))
    # Floats are quantised to a 16th of their noise.
    np.testing.assert_allclose(raw.image, expected[2:-2, 4:-4], rtol=0, atol=5 / 16 if kind == "float" else 0)
    assert not {"BZERO", "BSCALE", "BLANK", "ZBLANK"} & set(raw.header)


def test_compressed_extensions_keep_their_numbers(tmp_path):
    """What fpack makes of several extensions: each is compressed where it stood."""
    chips = [counts(i).astype(np.int16) for i in (1, 2)]
    hdus = [fits.CompImageHDU(c, fits.Header({"CHIP": i})) for i, c in enumerate(chips, 1)]
    fits.HDUList([fits.PrimaryHDU(header=fits.Header({"EXPTIME": 3.0})), *hdus]).writeto(tmp_path / "a.fits.fz")
    raw = read_raw(tmp_path / "a.fits.fz", Frames(hdu_data=2))
    np.testing.assert_array_equal(raw.image, chips[1])
    assert (raw.header["CHIP"], raw.header["EXPTIME"]) == (2, 3.0)
    with pytest.raises(UnusableInput, match="HDUs with one: 1, 2"):
        read_raw(tmp_path / "a.fits.fz", Frames())


@pytest.mark.parametrize("kind", ["uint16", "int32", "float64"])
def test_only_what_is_kept_is_read(tmp_path, kind):
    """Images that are stored as they are come by memory mapping: trimming one costs what is left."""
    import tracemalloc

    image = np.ones((2000, 2000), kind)
    fits.PrimaryHDU(image).writeto(tmp_path / "a.fits")  # 8 to 32 MB
    tracemalloc.start()
    image = read_raw(tmp_path / "a.fits", Frames(trim_vertical=900, trim_horizontal=900)).image
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert image.shape == (200, 200)
    assert peak < 2e6


def test_file_system_that_maps_nothing(tmp_path, monkeypatch):
    import errno

    fits.PrimaryHDU(counts().astype(np.int16)).writeto(tmp_path / "a.fits")

    opened = fits.open

    def refuse(*arguments, memmap, **options):
        if memmap:
            raise OSError(errno.ENODEV, "No such device")
        return opened(*arguments, memmap=memmap, **options)

    monkeypatch.setattr("lcframework.frames.raw_frames.fits.open", refuse)
    np.testing.assert_array_equal(read_raw(tmp_path / "a.fits", Frames()).image, counts())


def test_gzipped_file(tmp_path):
    fits.PrimaryHDU(counts().astype(np.int16)).writeto(tmp_path / "a.fits")
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
    np.testing.assert_array_equal(read_raw(tmp_path / "a.fits.gz", Frames()).image, counts())
    (tmp_path / "b.fits.gz").write_bytes((tmp_path / "a.fits.gz").read_bytes()[:1500])
    with pytest.raises(UnusableInput, match=r"b\.fits\.gz"):
        read_raw(tmp_path / "b.fits.gz", Frames())


def test_trimming_moves_the_wcs(tmp_path):
    fits.PrimaryHDU(counts().astype(np.int16), wcs_cards()).writeto(tmp_path / "a.fits")
    whole = read_raw(tmp_path / "a.fits", Frames())
    cut = read_raw(tmp_path / "a.fits", Frames(trim_vertical=3, trim_horizontal=7))
    assert cut.image.shape == (34, 46)
    np.testing.assert_array_equal(cut.image, whole.image[3:-3, 7:-7])
    np.testing.assert_allclose(
        WCS(cut.header).all_pix2world(0, 0, 0), WCS(whole.header).all_pix2world(7, 3, 0), rtol=0, atol=1e-10
    )
    with pytest.raises(UnusableInput, match="60 x 40 pixels: nothing is left"):
        read_raw(tmp_path / "a.fits", Frames(trim_vertical=20))


def distorted(kind):
    header = wcs_cards()
    if kind == "SIP":
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
        header["A_ORDER"], header["B_ORDER"], header["A_2_0"], header["A_1_1"] = 2, 3, 3e-4, -1e-4
        header["B_0_2"], header["B_0_3"], header["AP_ORDER"], header["BP_ORDER"] = 2e-4, 1e-5, 0, 0
    if kind == "TPV":
        header["CTYPE1"], header["CTYPE2"] = "RA---TPV", "DEC--TPV"
        header["PV1_1"], header["PV1_4"], header["PV2_1"], header["PV2_4"] = 1.001, 0.3, 0.999, -0.2
    if kind == "CD":
        del header["CDELT1"], header["CDELT2"]
        header["CD1_1"], header["CD1_2"], header["CD2_1"], header["CD2_2"] = -1e-4, 2e-5, 2e-5, 1e-4
    if kind == "without CRPIX":  # the standard's default is 0
        del header["CRPIX1"], header["CRPIX2"]
    if kind == "texts":
        header["CRPIX1"], header["CRPIX2"] = "30.5", "20.5"
    return header


@pytest.mark.parametrize("kind", ["SIP", "TPV", "CD", "without CRPIX", "texts"])
def test_trimming_keeps_every_pixel_where_it_is(tmp_path, kind):
    fits.PrimaryHDU(counts().astype(np.int16), distorted(kind)).writeto(tmp_path / "a.fits")
    cut = read_raw(tmp_path / "a.fits", Frames(trim_vertical=3, trim_horizontal=7))
    whole = distorted(kind)
    if kind == "texts":
        whole["CRPIX1"], whole["CRPIX2"] = 30.5, 20.5
    x, y = np.array([0.0, 12.3, 45.0, 45.0]), np.array([0.0, 30.1, 0.0, 33.0])
    expected = WCS(whole).all_pix2world(x + 7, y + 3, 0)
    np.testing.assert_allclose(WCS(cut.header).all_pix2world(x, y, 0), expected, rtol=0, atol=1e-10)
    flat = WCS(wcs_cards()).all_pix2world(x + 7, y + 3, 0)
    if kind in ("SIP", "TPV"):  # the distortion is there, and it matters
        assert np.abs(np.subtract(flat, expected)).max() > 3e-7


def test_trimming_moves_alternate_systems_too(tmp_path):
    header = wcs_cards()
    for key in ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CDELT1", "CDELT2"):
        header[f"{key}A"] = header[key]
    header["CRPIX1A"] = 11.0
    fits.PrimaryHDU(counts().astype(np.int16), header).writeto(tmp_path / "a.fits")
    cut = read_raw(tmp_path / "a.fits", Frames(trim_vertical=3, trim_horizontal=7)).header
    assert [cut[k] for k in ("CRPIX1", "CRPIX2", "CRPIX1A", "CRPIX2A")] == [23.5, 17.5, 4.0, 17.5]
    untouched = fits.PrimaryHDU(counts().astype(np.int16))
    untouched.writeto(tmp_path / "b.fits")
    cut = read_raw(tmp_path / "b.fits", Frames(trim_vertical=3, trim_horizontal=7)).header
    assert "CRPIX1" not in cut  # a frame without a WCS gets none


def test_truncated_files(tmp_path):
    fits.PrimaryHDU(counts(shape=(200, 200)).astype(np.int16)).writeto(tmp_path / "a.fits")
    whole = (tmp_path / "a.fits").read_bytes()
    for size in (0, 80, 2000, 2880, 2890, 20000):
        (tmp_path / "b.fits").write_bytes(whole[:size])
        with pytest.raises(UnusableInput, match=r"b\.fits"):
            read_raw(tmp_path / "b.fits", Frames())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "no two-dimensional image"),
        (np.zeros((2, 3, 4), np.int16), "no two-dimensional image in HDU 0.*It holds a cube of 2 images"),
        (np.zeros(10, np.int16), "no two-dimensional image"),
        (np.full((5, 5), np.nan, np.float32), "no finite pixel"),
    ],
)
def test_files_without_an_image(tmp_path, data, words):
    fits.PrimaryHDU(data).writeto(tmp_path / "a.fits")
    with pytest.raises(UnusableInput, match=words):
        read_raw(tmp_path / "a.fits", Frames())


def test_files_that_are_not_fits(tmp_path):
    for name, content in (
        ("text.fits", b"hello" * 1000),
        ("zeros.fits", bytes(5760)),
        ("png.fits", b"\x89PNG\r\n" * 900),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnusableInput, match=name):
            read_raw(tmp_path / name, Frames())
    with pytest.raises(FileNotFoundError):  # no fault of the frame: it may come back
        read_raw(tmp_path / "gone.fits", Frames())


def test_table_extension_is_no_image(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("x", "D", array=np.arange(3.0))])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "a.fits")
    with pytest.raises(UnusableInput, match="HDUs with one: none"):
        read_raw(tmp_path / "a.fits", Frames(hdu_data=1))


def test_cards_that_cannot_be_read_are_left_out(tmp_path):
    """A frame is not lost for a card that nobody needs."""
    header = wcs_cards()
    for name in ("OBJECT", "OBSERVER", "COOLER", "COMMENT1", "GAIN"):
        header[name] = "x" if name != "GAIN" else 2.5
    header["HIERARCH ESO DET OUT1 CONAD"] = 1.5
    header["HISTORY"] = "flat-fielded"
    fits.PrimaryHDU(counts().astype(np.int16), header).writeto(tmp_path / "a.fits")
    content = (tmp_path / "a.fits").read_bytes()
    odd = {
        b"OBJECT  =": b"OBJECT  = 'never closed", b"OBSERVER=": b"OBSERVER= 'Andr\xe9 '",
        b"COOLER  =": b"COOLER  = NaN", b"COMMENT1=": b"bad key! = 12",
    }  # fmt: skip
    for old, new in odd.items():
        start = content.index(old)
        content = content[:start] + new.ljust(80) + content[start + 80 :]
    (tmp_path / "a.fits").write_bytes(content)
    read = read_raw(tmp_path / "a.fits", Frames()).header
    assert read["GAIN"] == 2.5
    assert read["ESO DET OUT1 CONAD"] == 1.5
    assert read["HISTORY"][0] == "flat-fielded"
    assert not any("bad key" in str(c).lower() for c in read.cards)
    write_frame(tmp_path / "b.fits", np.zeros((4, 4), np.float32), np.zeros((4, 4), np.uint8), read)
    assert read_frame(tmp_path / "b.fits")[2]["GAIN"] == 2.5


def test_axes_of_length_one(tmp_path):
    """A third axis of length 1 is none, in the image and in the WCS."""
    header = wcs_cards()
    fits.PrimaryHDU(counts().astype(np.int16), header).writeto(tmp_path / "a.fits")
    expected = WCS(read_raw(tmp_path / "a.fits", Frames()).header)
    third = {"CTYPE3": "WAVE", "CRVAL3": 6e-7, "CDELT3": 0.0, "CRPIX3": 1.0, "PC3_3": 1.0, "PC1_3": 0.0, "CUNIT3": "m"}
    shapes = {"plane": (1, *SHAPE), "cube": (1, 1, *SHAPE), "flat": SHAPE}
    for name, shape in shapes.items():
        path = tmp_path / f"{name}.fits"
        full = fits.Header({"WCSAXES": 4 if name == "cube" else 3, **header, **third})
        if name == "cube":
            full.update({"CTYPE4": "STOKES", "CRVAL4": 1.0, "CDELT4": 1.0, "CRPIX4": 1.0})
        fits.PrimaryHDU(counts().astype(np.int16).reshape(shape), full).writeto(path)
        raw = read_raw(path, Frames(trim_horizontal=2))
        np.testing.assert_array_equal(raw.image, counts()[:, 2:-2])
        found = WCS(raw.header)
        assert found.naxis == 2
        np.testing.assert_allclose(found.all_pix2world([[3, 4]], 0), expected.all_pix2world([[5, 4]], 0))
        read, size = read_raw_header(path, Frames())
        assert (size, WCS(read).naxis) == (SHAPE, 2)
    fits.PrimaryHDU(np.zeros((2, *SHAPE), np.int16)).writeto(tmp_path / "two.fits")
    with pytest.raises(UnusableInput, match="no two-dimensional image"):
        read_raw(tmp_path / "two.fits", Frames())
