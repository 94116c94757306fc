"""Inputs of fuzzing.py: valid project files, frames and catalogues, and what chance makes of them."""

from __future__ import annotations

import gzip
import io
import random
import re
import warnings
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
from astropy.io import fits
from astropy.table import Table

from lcframework.config.sections import SECTIONS
from lcframework.plugins import SEAMS, Plugins

SIZE = 48  # pixels of a frame
PLACE = (150.0, -28.0)

#: Texts that readers stumble over.
TEXTS = ("", " ", ".", "..", "../..", "/", "nan", "inf", "-inf", "None", "true", "1e999", "9" * 30, "-0", "0x10", "é☂",
         "\N{RIGHT-TO-LEFT OVERRIDE}", "a" * 3000, "<script>", "'", '"', "%s", "{0}", "$HOME", "~nobody",
         "*", "[0:1]", "2024-13-45T99:99:99",
         "2024-01-01", "25:61:61", "1,5", "1;5", "J2000", "auto", "all", "none",
         "-rf", "\t", "a\\nb", "a\\u0000b")  # fmt: skip
#: The same for values of TOML.
VALUES = ("0", "-1", "1", "1.5", "-1e308", "1e308", "1e-320", "inf", "-inf", "nan", "9223372036854775807",
          "99999999999999999999", "true", "false", "[]", "[[]]", "{}", "[1, 2]", "[2.0, 1.0]", "[nan, nan]", '["a"]',
          '["a", 1]', "{a = 1}", '{a = "b"}', "[1.0, 2.0, 3.0]", "2024-01-01", "07:00:00", '"auto"', '"none"', '"all"',
          "0x7fffffff", "[inf, -inf]", '[""]', "[-1, -1]", '{a = [1.0, 2.0]}', '{"é" = [0, 1]}')  # fmt: skip


def valid_projects(plugins: Plugins) -> list[str]:
    """Return project files that can be opened: a short one, and one with every option at its default."""
    short = f"[roi.X]\nra = {PLACE[0]}\ndec = {PLACE[1]}\n[roi.X.point_sources]\nA = [150.0, -28.0]\n"
    lines = [short]
    for name, cls in SECTIONS.items():
        if name == "telescope":
            lines.append("[telescope]\nlatitude = -24.6\nlongitude = -70.4\nelevation = 2635.0")
            continue
        # TOML has no room for an option and a table of one name: `[photometry] aperture`, `[photometry.aperture]`.
        tables = {offer.name for seam in SEAMS if seam.section == name for offer in plugins.offers(seam.hook)}
        lines += [f"[{name}]", *(line for line in _options(cls) if line.partition(" = ")[0] not in tables)]
    for seam in SEAMS:
        for offer in plugins.offers(seam.hook) if seam.section else ():
            lines += [f"[{seam.section}.{offer.name}]", *_options(offer.cls)]
    lines.append('[instrument."A b".stamps]\nstar_size = 30')
    return [short + '[stars]\nplugin = "file"\n[calibration]\nplugin = "none"\n', "\n".join(lines) + "\n"]


def _options(cls: type[Any]) -> list[str]:
    out = []
    for field in attrs.fields(cls):
        default = field.default
        value = default.factory() if isinstance(default, attrs.Factory) and not default.takes_self else default
        if field.init and value is not attrs.NOTHING and (text := _toml(value)):
            out.append(f"{field.name} = {text}")
    return out


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{k}" = {_toml(v)}' for k, v in value.items()) + "}"
    return ""


def mutated_project(rng: random.Random, texts: list[str]) -> bytes:
    """Return a project file with one to four changes."""
    lines = rng.choice(texts).splitlines()
    for _ in range(rng.choice((1, 1, 2, 3))):
        i = rng.randrange(len(lines))
        kind = rng.random()
        if kind < 0.55 and "=" in lines[i]:
            value = rng.choice(VALUES) if rng.random() < 0.6 else '"' + rng.choice(TEXTS).replace('"', '\\"') + '"'
            lines[i] = f"{lines[i].split('=')[0]}= {value}"
        elif kind < 0.65:
            lines.insert(i, lines[rng.randrange(len(lines))])
        elif kind < 0.75:
            del lines[i]
            lines = lines or [""]
        elif kind < 0.85:
            lines[i] = re.sub(
                r"\w+", lambda m: rng.choice((m[0], m[0].upper(), m[0][:-1], f'"{rng.choice(TEXTS)}"')), lines[i]
            )
        elif kind < 0.93:
            lines.insert(
                i, f"[{rng.choice(('roi', 'instrument', 'plugins', 'frames', 'x'))}.{rng.choice(('X', '.', 'é', '1'))}]"
            )
        else:
            lines.insert(i, f"{rng.choice(('local', 'plugin', 'stars', 'path', 'ra', 'x'))} = {rng.choice(VALUES)}")
    data = "\n".join(lines).encode(errors="surrogateescape")
    return _bytes_changed(rng, data) if rng.random() < 0.1 else data


def _bytes_changed(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 64))):
        if not out:
            break
        i = rng.randrange(len(out))
        kind = rng.random()
        if kind < 0.6:
            out[i] = rng.randrange(256)
        elif kind < 0.7:
            del out[i : i + rng.choice((1, 80, 2880))]
        elif kind < 0.8:
            out[i:i] = out[i : i + rng.choice((1, 80, 2880))]
        elif kind < 0.9:
            out[i : i + 8] = b"\0" * 8
        else:
            del out[i:]
    return bytes(out)


HEADER = {
    "OBJECT": "X", "DATE-OBS": "2024-02-03T04:05:06.7", "MJD-OBS": 60343.17, "UT": "04:05:06", "TIMESYS": "UTC",
    "EXPTIME": 60.0, "GAIN": 1.5, "EGAIN": 1.5, "RDNOISE": 5.0, "SATURATE": 60000.0, "FILTER": "r", "BUNIT": "adu",
    "TELESCOP": "T", "INSTRUME": "I", "AIRMASS": 1.2, "TRIMSEC": "[1:48,1:48]", "BIASSEC": "[1:2,1:48]",
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": PLACE[0], "CRVAL2": PLACE[1], "CRPIX1": 24.0, "CRPIX2": 24.0,
    "CD1_1": -2e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 2e-4, "CUNIT1": "deg", "CUNIT2": "deg", "EQUINOX": 2000.0,
    "RADESYS": "ICRS", "A_ORDER": 2, "A_2_0": 1e-6, "B_ORDER": 2, "B_0_2": 1e-6, "PV1_1": 1.0, "SITELAT": "-24:37:00",
}  # fmt: skip


def valid_frame(rng: random.Random) -> bytes:
    """Return a frame of some stars, in one of the forms that cameras write."""
    noise = np.random.default_rng(rng.randrange(2**32))
    y, x = np.mgrid[:SIZE, :SIZE]
    image = noise.normal(1000.0, 20.0, (SIZE, SIZE))
    for _ in range(8):
        at = noise.uniform(5, SIZE - 5, 2)
        image += noise.uniform(500, 20000) * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 5.0)
    kind = rng.choice((np.uint16, np.int16, np.int32, np.float32, np.float64))
    header = fits.Header({k: v for k, v in HEADER.items() if rng.random() < 0.9})
    form = rng.random()
    pixels = np.clip(image, 0, 30000).astype(kind)
    if form < 0.75:
        hdus = fits.HDUList([fits.PrimaryHDU(pixels, header)])
    elif form < 0.85:
        hdus = fits.HDUList([fits.PrimaryHDU(header=header), fits.ImageHDU(pixels)])
    elif form < 0.95:
        hdus = fits.HDUList([fits.PrimaryHDU(header=header), fits.CompImageHDU(pixels.astype(np.int16))])
    else:
        hdus = fits.HDUList([fits.PrimaryHDU(pixels[None], header), fits.BinTableHDU(Table({"a": [1, 2]}))])
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hdus.writeto(stream)
    return stream.getvalue()


def mutated_frame(rng: random.Random) -> bytes:
    """Return a frame with changes of its cards, sometimes of its bytes."""
    data = bytearray(valid_frame(rng))
    cards = [i for i in range(0, min(len(data), 8640), 80) if re.match(rb"[A-Z0-9_-]+ *= ", bytes(data[i : i + 10]))]
    for _ in range(rng.randint(0, 5)):
        i = rng.choice(cards)
        keyword = bytes(data[i : i + 8])
        kind = rng.random()
        if kind < 0.7:
            value = rng.choice((*VALUES, *(f"'{t[:60]}'" for t in TEXTS), *TEXTS))
            card = keyword + b"= " + value.encode(errors="replace")[:70].rjust(rng.choice((0, 20)))
        elif kind < 0.8:
            card = bytes(data[rng.choice(cards) :][:8]) + bytes(data[i + 8 : i + 80])
        elif kind < 0.9:
            card = b""
        else:
            card = rng.choice(
                (b"END", b"CONTINUE  'x'", b"HIERARCH ESO A = 'x'", b"COMMENT x", b"\xff" * 20, b"NAXIS3  = 2")
            )
        data[i : i + 80] = card[:80].replace(b"\n", b" ").ljust(80)
    out = bytes(data)
    kind = rng.random()
    if kind < 0.15:
        out = _bytes_changed(rng, out)
    elif kind < 0.2:
        out = gzip.compress(out, 1)
    elif kind < 0.25:
        out = _bytes_changed(rng, gzip.compress(out, 1))
    return out


def _odd_columns(count: int) -> list[Callable[[], Any]]:
    """Return what makes columns that hold no plain numbers."""
    return [
        lambda: np.zeros((count, 2)), lambda: np.zeros((count, 2, 2)), lambda: np.full(count, np.nan),
        lambda: ["x"] * count,
        lambda: [""] * count, lambda: np.full(count, np.inf), lambda: np.full(count, 1e300),
        lambda: np.zeros(count, complex),
        lambda: np.zeros(count, bool), lambda: np.array([b"\xff\xfe"] * count), lambda: np.ma.masked_all(count),
        lambda: np.array([None, {}] * count, dtype=object)[:count], lambda: [f"{i}:0:0" for i in range(count)],
        lambda: np.arange(count) * 10**17, lambda: np.full(count, -1), lambda: np.zeros((count, 0)),
        lambda: np.zeros(count, [("a", float), ("b", int)]),
    ]  # fmt: skip


def mutated_catalogue(rng: random.Random) -> tuple[str, bytes]:
    """Return the ending and the contents of a catalogue file."""
    noise = np.random.default_rng(rng.randrange(2**32))
    count = rng.choice((1, 2, 20))
    columns: dict[str, Any] = {
        "source_id": np.arange(count) + 5 * 10**18, "ra": PLACE[0] + noise.normal(0, 0.02, count),
        "dec": PLACE[1] + noise.normal(0, 0.02, count), "phot_g_mean_mag": noise.uniform(14, 19, count),
        "r_mag": noise.uniform(14, 19, count),
        "pmra": noise.normal(0, 5, count), "pmdec": noise.normal(0, 5, count), "ref_epoch": np.full(count, 2016.0),
        "variable": ["false"] * count, "astrometric_excess_noise": np.zeros(count),
        "r_mag_err": np.full(count, 0.01),
    }  # fmt: skip
    for _ in range(rng.randint(0, 3)):
        name = rng.choice(list(columns))
        kind = rng.random()
        if kind < 0.7:
            columns[name] = rng.choice(_odd_columns(count))()
        elif kind < 0.85:
            columns[rng.choice((name.upper(), name + " ", "é", "x" * 500))] = columns.pop(name)
        else:
            del columns[name]
    ending, form = rng.choice(
        (("ecsv", "ascii.ecsv"), ("csv", "ascii.csv"), ("fits", "fits"), ("xml", "votable"), ("txt", "ascii.basic"))
    )
    stream = io.BytesIO() if form in ("fits", "votable") else io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            table = Table(columns)
            if rng.random() < 0.3 and "ra" in table.colnames:
                table["ra"].unit = rng.choice(("deg", "rad", "hourangle", "mag", "no unit", "K"))
            table.write(stream, format=form)
        except Exception:  # what can't be written so is no input: its text is
            return ending, repr(columns).encode(errors="replace")
    data = stream.getvalue()
    data = data if isinstance(data, bytes) else data.encode(errors="replace")
    return ending, _bytes_changed(rng, data) if rng.random() < 0.4 else data
