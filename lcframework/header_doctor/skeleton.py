"""Writes the module of a header plugin from the keywords that a telescope's frames have."""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs
import numpy as np
from astropy.io import fits

from lcframework.frames.header_cards import looks_like, read_text_time, stated_moment, text_of, time_cards
from lcframework.types import MeasuredGain

#: Keywords that identify the telescope or instrument of a frame, the most specific first.
_CLAIMS = ("INSTRUME", "TELESCOP", "CREATOR", "OBSERVAT", "DETECTOR", "CAMERA", "SWCREATE", "ORIGIN")
#: Keywords of times, best first: those that state most clearly which moment they give.
_TIMES = ("DATE-BEG", "DATE-AVG", "MJD-BEG", "MJD-AVG", "UT-OBS", "DATE-OBS", "MJD-OBS", "JD")


@attrs.frozen
class Skeleton:
    """The text of a module, and the tasks that remain for its author."""

    text: str
    tasks: tuple[str, ...]


@attrs.frozen
class _Quantity:
    """The source of a quantity: a keyword, or else the option with the name of the quantity."""

    name: str
    keyword: str
    others: tuple[str, ...]


def skeleton(
    headers: Sequence[fits.Header], instrument: str, gain: MeasuredGain | None = None, module: str = "lcf_telescope"
) -> Skeleton:
    """Return a complete module of a header parser for frames with these headers.

    Parameters
    ----------
    headers : sequence of astropy.io.fits.Header
        Headers of one instrument; only keywords that all of them have are used.
    instrument : str
        The name of the instrument, which becomes the parser's name.
    gain : MeasuredGain, optional
        The default of the option for the gain, where no keyword gives it.
    module : str
        The module's name, for the entry point.
    """
    instrument = re.sub(r"[^A-Za-z0-9_.+-]+", "-", instrument).strip("-") or "telescope"  # used in texts and names
    name = re.sub(r"[^a-z0-9]+", "", instrument.lower()) or "telescope"
    name = name if name[0].isalpha() else f"t{name}"
    tasks: list[str] = []
    found = {q: _quantity(q, headers) for q in ("exptime", "gain", "read_noise", "saturation", "band", "site")}
    claims = _claims(headers, tasks)
    time = _time(headers, tasks)
    default_gain = f"{gain.gain:.3g}" if gain is not None and np.isfinite(gain.gain) else "0.0"
    for q in ("exptime", "gain"):
        if not found[q].keyword:
            tasks.append(f"{q}: no keyword looks like it; it is an option" + (
                f", {default_gain} e-/unit by the images' noise" if q == "gain" and default_gain != "0.0" else ""
            ))  # fmt: skip
        elif found[q].others:
            tasks.append(f"{q}: {found[q].keyword} is read; is it rather {', '.join(found[q].others)}?")
    options = [_option(q, default_gain) for q in found.values() if not q.keyword and q.name not in ("band", "site")]
    reads = "".join(f"            {_read(q)}\n" for q in found.values())
    body = _TEMPLATE.format(
        instrument=instrument, module=module, name=name, claims=claims, time=time.expression, source=time.source,
        reference=time.reference, cls=_class_name(instrument), note=time.note, reads=reads,
        options="".join(f"    {line}\n" for line in options) + ("\n" if options else ""),
    )  # fmt: skip
    helpers = "".join(text for used, text in _HELPERS.items() if used in body)
    text = body + helpers + _HOOK.format(cls=_class_name(instrument))
    return Skeleton(_HEAD.format(instrument=instrument, name=name, module=module) + _imports(text) + text, tuple(tasks))


def _class_name(instrument: str) -> str:
    name = "".join(p[:1].upper() + p[1:] for p in re.split(r"[^A-Za-z0-9]+", instrument)) or "Telescope"
    return name if name[0].isalpha() else f"T{name}"


def _imports(text: str) -> str:
    """Return the import lines that a text needs."""
    standard = ["import math"] if "math." in text else []
    standard += ["from datetime import UTC, datetime"] if "datetime" in text else []
    standard += ["from pathlib import Path", "from typing import ClassVar"]
    astropy = ["import attrs", "from astropy.io import fits"]
    astropy += ["from astropy.time import Time"] if "Time(" in text else []
    names = [n for n in ("HeaderInfo", "NeedMissing", "TimeReference", "UnusableInput") if n in text]
    ours = ["from lcframework.hookspecs import hookimpl", f"from lcframework.types import {', '.join(names)}"]
    return "\n\n".join("\n".join(lines) for lines in (standard, astropy, ours)) + "\n\n"


def _quantity(name: str, headers: Sequence[fits.Header]) -> _Quantity:
    keys = looks_like(headers, name)
    return _Quantity(name, keys[0] if keys else "", tuple(keys[1:3]))


def _claims(headers: Sequence[fits.Header], tasks: list[str]) -> str:
    found = {}
    for key in _CLAIMS:
        values = {text_of(h, key) for h in headers}
        if len(values) == 1 and "" not in values:
            found[key] = values.pop()
        if len(found) == 2:
            break
    if not found:
        tasks.append("CLAIMS is empty: no keyword names the instrument, so every file is claimed; narrow it")
    return "{" + ", ".join(f"{_quoted(k)}: {_quoted(v)}" for k, v in found.items()) + "}"


@attrs.frozen
class _Time:
    source: str
    expression: str
    reference: str
    note: str


def _time(headers: Sequence[fits.Header], tasks: list[str]) -> _Time:
    everywhere = set.intersection(*(set(time_cards(h)) for h in headers))
    ordered = [k for k in _TIMES if k in everywhere] + sorted(everywhere - set(_TIMES))
    if not ordered:
        tasks.append("time: no keyword holds a date with a time of day; complete _mjd()")
        return _Time("DATE-OBS", '_mjd(header, "DATE-OBS")', "START", "no such keyword was found: replace it")
    key = ordered[0]
    moment, where = stated_moment(headers[0], key)
    note = f"{moment}: as {where} states" if moment else "CHECK: the header does not state which moment this is"
    if not moment:
        tasks.append(f"time: {key} is taken as the start of the exposure; the header does not state it: find out")
    if len(ordered) > 1:
        tasks.append(f"time: {key} is read; the header also has {', '.join(ordered[1:])}: which is exact, which UTC?")
    if "+" in key or read_text_time(text_of(headers[0], key)) is not None:
        keys = ", ".join(_quoted(k) for k in key.split("+"))
        return _Time(key, f"_mjd(header, {keys})", (moment or "start").upper(), note.replace("\n", " "))
    offset = " - 2_400_000.5" if float(headers[0][key]) > 2_400_000.5 else ""
    return _Time(key, f"_number(header, {_quoted(key)}){offset}", (moment or "start").upper(), note)


_UNIT = {"exptime": "s", "gain": "e-/unit of the data", "read_noise": "e-; nan: unknown",
         "saturation": "unit of the data; inf: unknown"}  # fmt: skip


def _option(q: _Quantity, gain: str) -> str:
    default = {"exptime": "0.0", "gain": gain, "read_noise": "math.nan", "saturation": "math.inf"}[q.name]
    unset = "; 0: must be set" if default == "0.0" else ""
    return f"{q.name}: float = {default}  # {_UNIT[q.name]}{unset}"


def _read(q: _Quantity) -> str:
    if q.name in ("band", "site"):
        return f"{q.name}=_text(header, {_quoted(q.keyword)})," if q.keyword else f'{q.name}="",'
    if q.keyword:
        return f"{q.name}=_number(header, {_quoted(q.keyword)}),"
    return (
        f'{q.name}=_needed(self.{q.name}, "{q.name}"),' if q.name in ("exptime", "gain") else f"{q.name}=self.{q.name},"
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_HEAD = '''"""Reads the headers of frames of {instrument}.

To install it, put beside this file a pyproject.toml with

    [project]
    name = "lcf-{name}"
    version = "0.1.0"
    dependencies = ["lcframework"]

    [project.entry-points.lcframework]
    header-{name} = "{module}"

and call `pip install .` in that folder; `lcf headers` then shows what it makes of the frames.
"""

from __future__ import annotations

'''

_TEMPLATE = '''NAME = "{name}"
#: Cards that identify these frames: it is an error where two parsers accept the same file.
CLAIMS = {claims}


@attrs.frozen
class {cls}:
    """Header parser; each attribute is an option of [header.{name}]."""

    results_version: ClassVar[int] = 1  # raise it when a frame is read differently than before

{options}    def parse(self, header: fits.Header, path: Path) -> HeaderInfo | None:
        """Return the values of the header, or None where it is not of {instrument}."""
        if any(str(header.get(key, "")).strip() != value for key, value in CLAIMS.items()):
            return None
        # {note}
        return HeaderInfo(
            mjd={time},  # UTC
            time_reference=TimeReference.{reference},
            time_source="{source}",
            instrument="{instrument}",
{reads}        )


'''

#: Functions that a module may need, by the text of a call.
_HELPERS = {
    "_number(": """def _number(header: fits.Header, key: str) -> float:
    try:
        return float(str(header[key]).strip())
    except (KeyError, ValueError):
        raise UnusableInput(f"{key} = {header.get(key)!r} is no number") from None


""",
    "_text(": """def _text(header: fits.Header, key: str) -> str:
    return str(header.get(key, "")).strip()


""",
    "_needed(": """def _needed(value: float, option: str) -> float:
    if not (math.isfinite(value) and value > 0):
        raise NeedMissing(f"the header does not give it: set {option} in [header.{NAME}]")
    return value


""",
    "_mjd(": '''def _mjd(header: fits.Header, *keys: str) -> float:
    """MJD (UTC) of a date and time, in one keyword or two; an offset such as -0700 is taken into account."""
    text = "T".join(str(header.get(key, "")).strip() for key in keys)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UnusableInput(f"{' and '.join(keys)} = {text!r} is no date and time") from None
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return float(Time(moment, scale="utc").mjd)


''',
}

_HOOK = '''@hookimpl
def lcf_header_parsers() -> dict[str, type]:
    """Name the parser."""
    return {{NAME: {cls}}}
'''
