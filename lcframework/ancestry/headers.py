"""The header: the parser that claimed the file, and what it said of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from lcframework.ancestry.facts import Line, Section, date_of, decimals, figures, known, some
from lcframework.ancestry.makers import Maker, by_line, makers, package_of
from lcframework.ancestry.raw_files import UNCHANGED, path_of
from lcframework.ancestry.records import Records, Row
from lcframework.frames.exclusions import IMPORT
from lcframework.frames.header_parsing import read_header
from lcframework.types import FrameFlag, HeaderInfo, LcfError
from lcframework.work import FrameKey

#: What the import may have seen otherwise than the header says is compared to this, relative and in days.
_ALIKE, _SAME_TIME = 1e-6, 1e-7


def header(records: Records, frame: Row, raw_state: str, again: bool) -> Section:
    """Return what the header of a frame's raw file says.

    Versions before the column `header_parser` did not record which parser claimed the file: where they asked several,
    these are asked again, as long as the raw file is the one that was imported.

    Parameters
    ----------
    records : Records
        What was read.
    frame : row of ``frames``
        The frame.
    raw_state : str
        How its raw file stands.
    again : bool
        Whether to ask again also where it is known who claimed the file.
    """
    product = records.product(IMPORT, FrameKey(frame.id))
    asked = makers(records, product, "header")
    parser = frame.header_parser or (asked[0].plugin if len(asked) == 1 else "")
    now, info, why = ("", None, "the raw file is not there as it was imported")
    if raw_state == UNCHANGED and (again or not parser):
        now, info, why = _asked_again(records, frame)
    parser = parser or now
    by = next((m for m in asked if m.plugin == parser), None)
    if by is None and parser and (not asked or frame.header_parser):  # of which the product records nothing
        by = Maker("header", parser, package_of(records, product, "header", parser, None), None)
    elif by is None and parser:
        why = f'"{parser}" claims it now, and was not asked then'
    differs = _differences(frame, info, now) if info is not None else []
    data: dict[str, Any] = {
        "parser": by.as_json() if by else None, "parser_unknown_because": "" if by else why,
        "asked": [m.plugin for m in asked],
        "exptime_s": frame.exptime, "gain_e_per_unit": frame.gain, "read_noise_e": frame.read_noise,
        "saturation": frame.saturation, "mjd_start": frame.mjd_start, "mjd": frame.mjd, "mjd_end": frame.mjd_end,
        "time_source": frame.time_source, "band": frame.band, "instrument": frame.instrument,
        "width_pixels": frame.width, "height_pixels": frame.height,
        "gain_measured": bool(frame.flags & FrameFlag.GAIN_MEASURED), "header": _said(info), "differs": differs,
    }  # fmt: skip
    return Section("header", "Header", data, _lines(data, by, info), _more(data))


def _asked_again(records: Records, frame: Row) -> tuple[str, HeaderInfo | None, str]:
    """Return the parser that claims a frame's raw file now, what it says, or why nobody does."""
    from lcframework.frames.raw_frames import read_raw_header

    path = path_of(records, frame)
    toolbox = records.project.toolbox
    try:
        merged, _ = read_raw_header(path, toolbox.config.frames)
        parser, info = read_header(toolbox.all("header"), merged, path)
    except (LcfError, OSError) as error:
        return "", None, str(error)
    return parser, info, ""


def _said(info: HeaderInfo | None) -> dict[str, Any] | None:
    if info is None:
        return None
    return {
        "exptime_s": info.exptime, "gain_e_per_unit": info.gain, "mjd": info.mjd,
        "time_reference": info.time_reference.value, "time_source": info.time_source, "band": info.band,
        "instrument": info.instrument, "site": info.site, "saturation": info.saturation,
        "read_noise_e": info.read_noise, "data_unit": info.data_unit.value,
    }  # fmt: skip


def _differences(frame: Row, info: HeaderInfo, parser: str) -> list[str]:
    """Return in words in what the header, as it is read now, differs from what the import recorded."""
    found = []
    if frame.header_parser not in ("", parser):
        found.append(f'"{frame.header_parser}" claimed it then, "{parser}" now')
    for name, then, now in (("band", frame.band, info.band), ("instrument", frame.instrument, info.instrument)):
        if frame.mjd is not None and then != now:
            found.append(f'{name} "{then}" then, "{now}" now')
    if known(frame.exptime) and not np.isclose(frame.exptime, info.exptime, rtol=_ALIKE, atol=0):
        found.append(f"exposure time {frame.exptime:g} s then, {info.exptime:g} s now")
    if known(frame.mjd_start) and abs(frame.mjd_start - info.mjd_start) > _SAME_TIME:
        found.append(f"start MJD {frame.mjd_start:.6f} then, {info.mjd_start:.6f} now")
    return found


def _lines(data: dict[str, Any], by: Maker | None, info: HeaderInfo | None) -> tuple[Line, ...]:
    if data["exptime_s"] is None:
        return some([Line("parser", data["parser_unknown_because"])])
    unit = f"{info.data_unit.value}" if info is not None else "unit"
    gain = "by the noise of frames; the header gives none" if data["gain_measured"] else ""
    noise = f", read noise {figures(data['read_noise_e'], 3)} e-" if known(data["read_noise_e"]) else ""
    level = f", saturated from {data['saturation']:.0f}" if known(data["saturation"]) else ""
    reference = f" = {info.time_reference.value} of the exposure" if info is not None else ""
    unknown = f"one of {', '.join(data['asked'])}: {data['parser_unknown_because']}" if data["asked"] else ""
    return some([
        by_line([by]) if by else Line("by", unknown),
        Line("instrument", f"{data['instrument'] or 'not named'}, band {data['band'] or 'not named'}, "
             f"{data['width_pixels']} x {data['height_pixels']} pixels"),
        Line("exposure", f"{figures(data['exptime_s'])} s, middle {date_of(data['mjd'])} "
             f"(MJD {decimals(data['mjd'], 6)}), from {data['time_source'] or 'an unnamed keyword'}{reference}"),
        Line("gain", f"{figures(data['gain_e_per_unit'])} e-/{unit}{f' ({gain})' if gain else ''}{noise}{level}"),
        *(Line("differs", f"the header is read otherwise now: {text}", problem=True) for text in data["differs"]),
    ])  # fmt: skip


def _more(data: dict[str, Any]) -> tuple[Line, ...]:
    said = data["header"] or {}
    return some([
        Line("start, end", f"MJD {decimals(data['mjd_start'], 7)}, {decimals(data['mjd_end'], 7)}"),
        Line("asked", ", ".join(data["asked"])),
        Line("as read now", "; ".join(f"{k} = {v}" for k, v in said.items() if v not in ("", None))),
    ])  # fmt: skip
