"""What errors of storage mean, with the errors that libraries really raise; and files that are no more as written."""

from __future__ import annotations

import errno
import resource

import h5py
import numpy as np
import pytest
from astropy.io import fits
from sqlmodel import Session, select

from lcframework.storage.connection import open_engine
from lcframework.storage.faults import cannot_write, disk_full, not_read
from lcframework.storage.files import atomic, noting_files
from lcframework.storage.hdf5 import new_file, opened_product
from lcframework.storage.product_files import files_of_stage, mark_damaged, record_files
from lcframework.storage.readable import why_unreadable
from lcframework.storage.seals import MISSING, Seal, seal, seals, wrong, wrong_size
from lcframework.storage.tables import Frame, Product, ProductFile
from lcframework.types import DamagedProduct
from lcframework.work.reading import UNSEALED, check_reads, paths_in


@pytest.fixture
def small_files():
    """Let no file be larger than 100 kB: the system then says so as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_image(path):
    with atomic(path) as temporary:
        fits.PrimaryHDU(np.zeros(100_000)).writeto(temporary)


def write_arrays(path):
    with new_file(path) as file:
        for i in range(50):
            file[f"x{i}"] = np.zeros(1000)


def write_text(path):
    with atomic(path) as temporary:
        temporary.write_text("x" * 200_000)


@pytest.mark.parametrize("write", [write_image, write_arrays, write_text])
def test_full_disk_whoever_writes(tmp_path, small_files, write):
    """astropy's error has no number; HDF5 would end the process."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 (astropy's message differs)
        write(tmp_path / "a")
    assert disk_full(caught.value, tmp_path).startswith("No space left on device")
    assert "free disk space" in cannot_write(caught.value, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "full", "writing", "reading"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a"), True, True, True),
        (OSError("Not enough space on disk: requested 800000, available 0. "), True, True, False),
        (RuntimeError("Can't decrement id ref count (errno = 28, error message = 'No space left')"), True, True, False),
        (OSError("[Errno 122] Disk quota exceeded"), True, True, False),
        (OSError(errno.EROFS, "Read-only file system", "a"), False, True, True),
        (OSError(errno.EIO, "Input/output error", "a"), False, True, True),
        (OSError(errno.ESTALE, "Stale file handle", "a"), False, True, True),
        (FileNotFoundError(errno.ENOENT, "No such file", "a"), False, False, True),
        (OSError("Empty or corrupt FITS file"), False, False, False),
        (ValueError("28"), False, False, False),
    ],
)  # fmt: skip
def test_meanings(tmp_path, error, full, writing, reading):
    assert bool(disk_full(error, tmp_path)) is full
    assert bool(cannot_write(error, tmp_path)) is writing
    assert bool(not_read(error)) is reading


def test_cause_of_an_error_counts(tmp_path):
    error = ValueError("could not save")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert disk_full(error, tmp_path)


def test_error_without_number_on_a_disk_without_space(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 4096})())
    assert disk_full(OSError("write failed"), tmp_path)
    assert not disk_full(ValueError("write failed"), tmp_path)


def test_large_file_is_not_begun_without_room(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 2 << 28})())
    with pytest.raises(OSError, match="No space left"), new_file(tmp_path / "a.h5", 3 << 28):
        pass
    assert list(tmp_path.iterdir()) == []


def test_seals(tmp_path):
    path = tmp_path / "frames" / "a.wcs"
    with noting_files() as files, atomic(path) as temporary:
        temporary.write_bytes(b"0123456789" * 1000)
    (made,) = seals(tmp_path, files)
    assert (made.path, made.size) == ("frames/a.wcs", 10_000)
    assert made == seal(tmp_path, "frames/a.wcs")
    assert wrong(tmp_path, made) == ""
    for at in (0, 5000, 9999):
        content = bytearray(b"0123456789" * 1000)
        content[at] ^= 1
        path.write_bytes(content)
        assert wrong(tmp_path, made) == "its contents changed after it was written"
        assert wrong_size(tmp_path, made.path, made.size) == ""
    path.write_bytes(b"0123")
    assert wrong(tmp_path, made) == "it has 4 bytes and was written with 10000"
    path.write_bytes(b"")
    assert wrong(tmp_path, made) == "it is empty"
    assert wrong_size(tmp_path, made.path, None) == "it is empty"
    path.unlink()
    assert wrong(tmp_path, made) == MISSING
    with pytest.raises(DamagedProduct, match="it is missing"):
        check_reads(tmp_path, [made])
    path.write_bytes(b"whatever an earlier version made")
    check_reads(tmp_path, [Seal(made.path, UNSEALED, "")])


def test_paths_in_a_payload():
    stars = ({"x": "frames/a.wcs"}, ["regions/a/s.h5", "name", 1.0, None], np.array(["b/c", "d"]))
    assert list(paths_in((stars, "/absolute/path", "e/f"))) == ["frames/a.wcs", "regions/a/s.h5", "b/c", "e/f"]


def test_kinds_of_files_that_can_not_be_read(tmp_path):
    fits.PrimaryHDU(np.arange(10_000.0)).writeto(tmp_path / "a.fits")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.arange(10_000.0))
    (tmp_path / "a.wcs").write_text(f"{'CTYPE1  = ' + repr('RA---TAN'):80}\n{'CTYPE2  = ' + repr('DEC--TAN'):80}\n")
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "a.json").write_text("{}")
    for path in sorted(tmp_path.iterdir()):
        assert why_unreadable(path) == ""
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * 3 // 4])
        assert why_unreadable(path) or path.suffix in (".csv", ".wcs"), path
        path.write_bytes(b"")
        assert why_unreadable(path) == "it is empty"
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3")
    assert "columns" in why_unreadable(tmp_path / "a.csv")
    (tmp_path / "a.wcs").write_text(f"{'CRVAL1  = 1.0':80}\n")  # a valid WCS, of the pixels themselves
    assert "CTYPE1 or CTYPE2 is missing" in why_unreadable(tmp_path / "a.wcs")
    with pytest.raises(DamagedProduct), opened_product(tmp_path / "a.h5"):
        pass


@pytest.fixture
def session(tmp_path):
    engine = open_engine("sqlite://", tmp_path)
    with Session(engine) as opened:
        yield opened
    engine.dispose()


def product(stage, unit, path):
    return Product(stage=stage, unit=unit, fingerprint="f", token="t", components={}, state="made", path=path)


def owners(session):
    return {row.path: (row.stage, row.size, row.damage) for row in session.exec(select(ProductFile))}


def test_files_belong_to_who_made_them_first(session):
    record_files(session, "import", (), "frame:1", [Seal("a.fits", 10, "x"), Seal("a_sources.fits", 5, "y")])
    record_files(session, "solve", ("import",), "frame:1", [Seal("a.wcs", 1, "w"), Seal("a.fits", 12, "z")])
    assert owners(session) == {
        "a.fits": ("import", 12, ""), "a_sources.fits": ("import", 5, ""), "a.wcs": ("solve", 1, "")
    }  # fmt: skip
    assert mark_damaged(session, {"a.fits": "it is empty", "b.fits": "?"}) == {"a.fits": ("import", "frame:1")}
    (known,) = (f for f in files_of_stage(session, "import")["frame:1"] if f.path == "a.fits")
    assert known.damage == "it is empty"
    record_files(session, "import", (), "frame:1", [Seal("a.fits", 10, "x")])  # made again, under another name
    assert owners(session) == {"a.fits": ("import", 10, ""), "a.wcs": ("solve", 1, "")}
    record_files(session, "solve", ("import",), "frame:1", [])
    assert owners(session) == {"a.fits": ("import", 10, "")}


def test_files_of_earlier_versions_have_owners(session):
    session.add(product("import", "frame:1", "a.fits"))
    session.add(Frame(id=1, original_image_path="/a", key="a", image_relpath="a.fits", sources_relpath="a_s.fits"))
    session.flush()
    found = mark_damaged(session, {"a.fits": "it is empty", "a_s.fits": "it is empty"})
    assert found == dict.fromkeys(["a.fits", "a_s.fits"], ("import", "frame:1"))
    # A later stage that rewrites a file without a record does not become its owner.
    session.add(product("import", "frame:2", "b.fits"))
    session.flush()
    record_files(session, "solve", ("import",), "frame:2", [Seal("b.fits", 1, "x")])
    assert owners(session)["b.fits"] == ("import", 1, "")
