"""Whether a header's gain is one in electrons per ADU, or a setting of the camera's amplifier."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from lcframework.types import Doubt, Severity
from plugins_builtin.shared.header_values import comment_of, text_of, value_of

if TYPE_CHECKING:
    from astropy.io import fits

#: No CCD or CMOS has more electrons per ADU, unless it says so: an 8-bit camera with a deep well comes to this.
_GREATEST = 100.0
#: Whole numbers from here on are rather steps of an amplifier.
_WHOLE = 10.0
_ELECTRONS = re.compile(r"\be(?:lectrons?|lec|l|-)?s?\s*[-]?\s*(?:/|per)|photo-?electron|conversion", re.IGNORECASE)
_OTHER_UNIT = re.compile(r"\bdb\b|\bdecibel|\biso\b|\barbitrary|\bpercent|%|\bunitless", re.IGNORECASE)
_SETTING = re.compile(r"\bsetting|\bset\b|\bstep|\bindex|\blevel\b|\bmode\b", re.IGNORECASE)
_PER_ELECTRON = re.compile(r"\b(?:adu|dn|counts?)s?\s*(?:/|per)\s*(?:photo-?)?e", re.IGNORECASE)
#: Cards that cameras write whose GAIN is a setting: the other settings of their amplifiers.
_SETTINGS_BESIDE = ("OFFSET", "BLKLEVEL", "BLACKLVL", "CAMOFFS", "USBLIMIT")
_HOW = "`lcf headers` measures it from the images' noise, and the camera's data sheet has it"
_REMEDY = f"Set gain (e-/ADU) in [header.fits]; {_HOW}"


def judged_gain(header: fits.Header, keyword: str, gain: float) -> tuple[float, tuple[Doubt, ...]]:
    """Return a gain that was read from a keyword, e-/ADU, and what is doubtful about it.

    It is nan where it can be none: its comment calls it a setting, it is not positive, or no detector has as much. Then
    only the noise of the frames can tell it.
    """
    why = _no_gain(header, keyword, gain)
    if why:
        text = f"{keyword} = {text_of(header, keyword)} {why}: it is left to the frames' noise"
        return np.nan, (Doubt("gain_setting", text, _REMEDY, severity=Severity.NOTE, value=gain),)
    return gain, _doubts(header, keyword, gain)


def _no_gain(header: fits.Header, keyword: str, gain: float) -> str:
    """Return why a number is no gain in e-/ADU; empty where it may be one."""
    comment = comment_of(header, keyword)
    electrons = bool(_ELECTRONS.search(comment))
    setting = bool(_SETTING.search(comment)) and gain == int(gain) and gain >= _WHOLE
    if (_OTHER_UNIT.search(comment) or setting) and not electrons:
        return f'is a setting of the camera, as its comment says ("{comment}")'
    if gain <= 0:
        return "is no gain in e-/ADU"
    if gain >= _GREATEST and (not electrons or gain == int(gain)):
        return f"is no gain in e-/ADU, for no detector has as much as {_GREATEST:g}, but may be a setting of the camera"
    return ""


def _doubts(header: fits.Header, keyword: str, gain: float) -> tuple[Doubt, ...]:
    comment, value = comment_of(header, keyword), text_of(header, keyword)
    electrons = bool(_ELECTRONS.search(comment))
    called = bool(_SETTING.search(comment)) and not electrons
    whole = gain == int(gain) and not electrons
    if _PER_ELECTRON.search(comment):
        return (
            Doubt("gain_setting", f'{keyword} = {value} was taken for e-/ADU, but its comment says "{comment}"',
                  _REMEDY, severity=Severity.DOUBT, value=gain),
        )  # fmt: skip
    beside = [k for k in _SETTINGS_BESIDE if text_of(header, k)]
    typed = beside and gain > 1 and isinstance(value_of(header, keyword), int) and not electrons
    if called or typed or (whole and gain >= _WHOLE):
        hint = f" beside {', '.join(beside)}" if beside else ""
        hint += f' (comment "{comment}")' if called else ""
        return (
            Doubt("gain_setting",
                  f"{keyword} = {value}{hint} was taken for e-/ADU, but may be a setting of the camera", _REMEDY,
                  severity=Severity.SERIOUS if typed else Severity.DOUBT, value=gain),
        )  # fmt: skip
    return ()
