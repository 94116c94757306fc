"""Writes the module and the test of a header plugin from the keywords that a telescope's frames have."""

from __future__ import annotations

import re
import textwrap
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from astropy.io import fits
from astropy.time import Time

from lcframework.frames.header_cards import (
    exposure_unit,
    looks_like,
    read_text_time,
    stated_moment,
    text_of,
    time_cards,
)
from lcframework.types import HeaderInfo, MeasuredGain

#: Keywords that identify the telescope or instrument of a frame, the most specific first.
_CLAIMS = ("INSTRUME", "TELESCOP", "CREATOR", "OBSERVAT", "DETECTOR", "CAMERA", "SWCREATE", "ORIGIN")
#: Keywords of times, best first: those that state most clearly which moment they give.
_TIMES = ("DATE-BEG", "DATE-AVG", "MJD-BEG", "MJD-AVG", "UT-OBS", "DATE-OBS", "MJD-OBS", "JD")
_QUANTITIES = ("exptime", "gain", "read_noise", "saturation", "band", "site")
_NEEDED = ("exptime", "gain")
#: What an option for a quantity that no keyword gives is, and its value in the test.
_OPTIONS = {
    "exptime": ("0.0", "s; 0: must be set", "60.0"),
    "gain": ("0.0", "e-/unit of the data; 0: must be set", "1.5"),
    "read_noise": ("math.nan", "e-; nan: unknown", ""),
    "saturation": ("math.inf", "unit of the data; inf: unknown", ""),
}


@attrs.frozen
class HeaderModule:
    """The texts of a module and of its test; what its author must look at stands in CHECK comments."""

    module: str
    test: str


@attrs.frozen
class _Quantity:
    """The source of a quantity: a keyword, or else the option with the name of the quantity."""

    name: str
    keyword: str = ""
    factor: str = ""  # such as " / 1000.0", after the number that is read
    check: str = ""  # what its author must look at


@attrs.frozen
class _Time:
    keys: tuple[str, ...]
    expression: str
    reference: str
    note: str


def example_headers(name: str) -> list[fits.Header]:
    """Return headers with the usual keywords, for a telescope of which there is no frame yet."""
    header = fits.Header([("TELESCOP", name), ("INSTRUME", f"{name}-camera"), ("FILTER", "r")])
    header["DATE-OBS"], header["EXPTIME"], header["GAIN"], header["RDNOISE"] = "2024-02-20T05:46:18.75", 120.0, 1.5, 6.0
    return [header]


def header_module(
    headers: Sequence[fits.Header], name: str, class_name: str, module: str, gain: MeasuredGain | None = None
) -> HeaderModule:
    """Return the module of a header parser for frames with these headers, and its test.

    Parameters
    ----------
    headers : sequence of astropy.io.fits.Header
        Headers of one instrument; only keywords that all of them have are used.
    name, class_name, module : str
        What the parser, its class and its module are called.
    gain : MeasuredGain, optional
        The default of the option for the gain, where no keyword gives it.
    """
    found = {q: _quantity(q, headers) for q in _QUANTITIES}
    time = _time(headers)
    used = [*(q.keyword for q in found.values() if q.keyword), *time.keys]
    claims = _claims(headers)
    instrument = next((text_of(headers[0], k) for k in ("INSTRUME", "CAMERA", "TELESCOP") if k in claims), name)
    spoken = re.sub(r"[^A-Za-z0-9_.+ -]+", "-", instrument).strip("- ") or name  # in texts, where no quote may stand
    default_gain = f"{gain.gain:.3g}" if gain is not None and np.isfinite(gain.gain) else "0.0"
    body = _CLASS.format(
        name=name, cls=class_name, claims=_claims_text(claims, used), instrument=spoken,
        quoted=_quoted(instrument), condition=_CONDITION if claims else _CONDITION_BY_KEYS,
        time=time.expression, source=_quoted("+".join(time.keys)), reference=time.reference,
        note=_comment(time.note), reads="".join(_read(q) for q in found.values()),
        options="".join(f"    {_option(q, default_gain)}\n" for q in found.values() if _is_option(q)),
    )  # fmt: skip
    helpers = "".join(text for call, text in _HELPERS.items() if call in body)
    body += helpers + _HOOK.format(cls=class_name, name=name)
    head = f'"""Reads the headers of frames of {spoken}."""\n\n'
    text = head + "from __future__ import annotations\n\n" + _imports(body) + body
    given = {n: _OPTIONS[n][2] for n in _NEEDED if not found[n].keyword and not (n == "gain" and default_gain != "0.0")}
    cards = {_card(key): _value(headers[0], key) for key in dict.fromkeys([*claims, *used])}
    return HeaderModule(text, _test(text, module, class_name, cards, given, [*claims][:1] or used[:1]))


def _is_option(q: _Quantity) -> bool:
    return not q.keyword and q.name in _OPTIONS


def _imports(text: str) -> str:
    """Return the import lines that a text needs."""
    standard = ["import math"] if "math." in text else []
    standard += ["from datetime import UTC, datetime"] if "datetime" in text else []
    standard += ["from pathlib import Path", "from typing import TYPE_CHECKING, ClassVar"]
    names = [n for n in ("HeaderInfo", "NeedMissing", "TimeReference", "UnusableInput") if n in text]
    ours = ["from lcframework.hookspecs import hookimpl", f"from lcframework.types import {', '.join(names)}"]
    late = "if TYPE_CHECKING:  # heavy libraries are imported where they are needed: most commands load this module\n"
    blocks = ["\n".join(standard), "import attrs", "\n".join(ours), late + "    from astropy.io import fits"]
    return "\n\n".join(blocks) + "\n\n"


def _quantity(name: str, headers: Sequence[fits.Header]) -> _Quantity:
    keys = looks_like(headers, name)
    if not keys:
        check = "no keyword looks like it; it is an option" if name in _NEEDED else ""
        return _Quantity(name, check=check)
    key, *others = keys[:3]
    comment = str(headers[0].comments[key]).lower()
    factor, checks = "", []
    if name == "exptime":
        factor, check = _unit_of_exposure(headers[0], key)
        checks.append(check)
    elif name == "gain" and not re.search(r"\be(-|lectrons?)?\s*(/|per)\s*(adu|dn|count)", comment):
        checks.append("electrons a unit of the data, and not the camera's setting, or its inverse?")
    elif name == "read_noise" and not re.search(r"\be-?\b|electron", comment):
        checks.append("in electrons?")
    if others and name in _NEEDED:
        checks.append(f"or is it {' or '.join(others)}?")
    return _Quantity(name, key, factor, " ".join(c for c in checks if c))


def _unit_of_exposure(header: fits.Header, key: str) -> tuple[str, str]:
    """Return what makes seconds of an exposure time, and what to check about that."""
    seconds, stated = exposure_unit(header, key)
    factor = {1.0: "", 1e-3: " / 1000.0", 60.0: " * 60.0"}[seconds]
    if stated:
        return factor, ""
    return (
        factor,
        f"{'in seconds' if seconds == 1.0 else 'milliseconds, as its name suggests'}? No header states its unit.",
    )


def _claims(headers: Sequence[fits.Header]) -> dict[str, str]:
    """Return cards that identify these frames: the first two that all headers have with one value."""
    found: dict[str, str] = {}
    for key in _CLAIMS:
        values = {text_of(h, key) for h in headers}
        if len(values) == 1 and "" not in values and len(found) < 2:
            found[key] = values.pop()
    return found


def _claims_text(claims: dict[str, str], used: Sequence[str]) -> str:
    if claims:
        cards = ", ".join(f"{_quoted(k)}: {_quoted(v)}" for k, v in claims.items())
        return (
            "#: Cards that identify these frames: it is an error where two parsers accept the same file.\n"
            f"#: CHECK: do all your frames have them, and no other telescope's?\nCLAIMS = {{{cards}}}"
        )
    keys = ", ".join(_quoted(k) for k in dict.fromkeys(used))
    return (
        "#: CHECK: no keyword names the instrument, so frames that have all these are taken for its own. Look for a\n"
        "#: card that no other telescope has, and compare its value in `parse`.\n"
        f"CLAIMS = ({keys}{',' if len(set(used)) == 1 else ''})"
    )


_CONDITION = 'any(str(header.get(key, "")).strip() != value for key, value in CLAIMS.items())'
_CONDITION_BY_KEYS = "not all(key in header for key in CLAIMS)"


def _time(headers: Sequence[fits.Header]) -> _Time:
    everywhere = set.intersection(*(set(time_cards(h)) for h in headers))
    ordered = [k for k in _TIMES if k in everywhere] + sorted(everywhere - set(_TIMES))
    if not ordered:
        note = "CHECK: no keyword holds a date with a time of day. Where is it? This reads DATE-OBS, in UTC."
        return _Time(("DATE-OBS",), '_mjd(header, "DATE-OBS")', "START", note)
    key = ordered[0]
    moment, where = stated_moment(headers[0], key)
    note = (
        f"{moment}: as {where} states" if moment else f"CHECK: is {key} the start of the exposure? No header states it."
    )
    if len(ordered) > 1:
        note += f" CHECK: {', '.join(ordered[1:4])} are there too: which is exact, which UTC?"
    reference = (moment or "start").upper()
    if "+" in key or read_text_time(text_of(headers[0], key)) is not None:
        keys = ", ".join(_quoted(k) for k in key.split("+"))
        return _Time(tuple(key.split("+")), f"_mjd(header, {keys})", reference, note.replace("\n", " "))
    offset = " - 2_400_000.5" if float(headers[0][key]) > 2_400_000.5 else ""
    return _Time((key,), f"_number(header, {_quoted(key)}){offset}", reference, note)


def _option(q: _Quantity, gain: str) -> str:
    default, meaning, _ = _OPTIONS[q.name]
    if q.name == "gain" and gain != "0.0":
        default, meaning = gain, "e-/unit of the data; CHECK: measured by the noise of the images"
    return f"{q.name}: float = {default}  # {meaning}"


def _read(q: _Quantity) -> str:
    check = _comment(f"CHECK: {q.check}", 12) if q.check else ""
    if q.name in ("band", "site"):
        value = f"_text(header, {_quoted(q.keyword)})" if q.keyword else '""'
    elif q.keyword:
        value = f"_number(header, {_quoted(q.keyword)}){q.factor}"
    else:
        value = f'_needed(self.{q.name}, "{q.name}")' if q.name in _NEEDED else f"self.{q.name}"
    return f"{check}            {q.name}={value},\n"


def _comment(text: str, indent: int = 8) -> str:
    lead = " " * indent + "# "
    return "".join(f"{line}\n" for line in textwrap.wrap(text, 118, initial_indent=lead, subsequent_indent=lead))


def _card(key: str) -> str:
    """Return a keyword as it is given to a header that is made: FITS has other cards for long ones."""
    return f"HIERARCH {key}" if len(key) > 8 or " " in key else key


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _value(header: fits.Header, key: str) -> Any:
    value = header.get(key, "2024-02-20T05:46:18.75")  # a time that was not found
    return value if isinstance(value, bool | int | float | str) else str(value)


def _test(
    text: str, module: str, class_name: str, cards: dict[str, Any], options: dict[str, str], claims: Sequence[str]
) -> str:
    """Return the test of a module on one header, with what the module reads of it as the values to look at."""
    made = types.ModuleType(module)
    exec(compile(text, f"{module}.py", "exec"), made.__dict__)
    parser = getattr(made, class_name)(**{name: float(value) for name, value in options.items()})
    header = fits.Header()
    for key, value in cards.items():
        header[key] = value
    info: HeaderInfo = parser.parse(header, Path("frame.fits"))
    start = Time(info.mjd_start, format="mjd").isot
    arguments = ", ".join(f"{name}={value}" for name, value in options.items())
    key = _quoted(claims[0])
    return _TEST.format(
        module=module, cls=class_name, arguments=arguments, start=start,
        cards="".join(f"    header[{_quoted(k)}] = {_literal(v)}\n" for k, v in cards.items()),
        exptime=info.exptime, gain=info.gain, mjd=repr(info.mjd_start), band=_quoted(info.band),
        other=f'other[{key}] = "another"' if isinstance(vars(made)["CLAIMS"], dict) else f"del other[{key}]",
    )  # fmt: skip


def _literal(value: Any) -> str:
    return _quoted(value) if isinstance(value, str) else repr(value)


_CLASS = '''{claims}


@attrs.frozen
class {cls}:
    """Header parser; each field is an option of [header.{name}]."""

    results_version: ClassVar[int] = 1  # raise it when a frame is read differently than before

{options}
    def parse(self, header: fits.Header, path: Path) -> HeaderInfo | None:
        """Return the values of the header, or None where it is not of {instrument}."""
        if {condition}:
            return None
{note}        return HeaderInfo(
            mjd={time},  # UTC
            time_reference=TimeReference.{reference},
            time_source={source},
            instrument={quoted},
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
        raise NeedMissing(f"the header does not give it: set {option} in the parser's section of the project file")
    return value


""",
    "_mjd(": '''def _mjd(header: fits.Header, *keys: str) -> float:
    """MJD (UTC) of a date and time, in one keyword or two; an offset such as -0700 is taken into account."""
    from astropy.time import Time

    text = "T".join(str(header.get(key, "")).strip() for key in keys)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return float(Time(text, scale="utc").mjd)  # such as hours of one digit
        except ValueError:
            raise UnusableInput(f"{' and '.join(keys)} = {text!r} is no date and time") from None
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return float(Time(moment, scale="utc").mjd)


''',
}

_HOOK = '''@hookimpl
def lcf_header_parsers() -> dict[str, type]:
    """Offer it as ``[header] plugin = "{name}"``; with ``"auto"`` it is asked for every frame."""
    return {{"{name}": {cls}}}
'''

_TEST = """from pathlib import Path

from astropy.io import fits
from {module} import {cls}
from lcframework.testing import check_header_parser


def example() -> fits.Header:
    # CHECK: put in what a frame of yours has.
    header = fits.Header()
{cards}    return header


def test_a_frame_is_read() -> None:
    # CHECK: is this what the observatory says about the frame? It began on {start} UTC.
    expected = {{"exptime": {exptime}, "gain": {gain}, "band": {band}, "mjd_start": {mjd}}}
    check_header_parser({cls}({arguments}), example(), expected=expected)


def test_frames_of_others_are_declined() -> None:
    other = example()
    {other}
    assert {cls}({arguments}).parse(other, Path("other.fits")) is None
    assert {cls}({arguments}).parse(fits.Header(), Path("empty.fits")) is None
"""
