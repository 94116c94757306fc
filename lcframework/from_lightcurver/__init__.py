"""Converts a YAML configuration of lightcurver to a project file, with notes on what has no equivalent."""

from __future__ import annotations

import difflib
from pathlib import Path

import attrs
import yaml

from lcframework.from_lightcurver.comments import users_comments
from lcframework.from_lightcurver.draft import Draft
from lcframework.from_lightcurver.keys import IF_ABSENT, KEYS
from lcframework.types import LcfError, UnusableInput

__all__ = ["KEYS", "Converted", "convert"]


@attrs.frozen
class Converted:
    """The text of a project file, and notes: (key of the configuration, how it was converted)."""

    text: str
    notes: tuple[tuple[str, str], ...]


def convert(path: Path, directory: Path) -> Converted:
    """Turn a configuration of lightcurver 1.2 into a project file.

    Parameters
    ----------
    path : Path
        The YAML file.
    directory : Path
        The folder of the project file; its paths are relative to this folder.

    Returns
    -------
    Converted
        Comments that the user wrote are above the options that they belong to; those of lightcurver's own example are
        left out.

    Raises
    ------
    LcfError
        Where the file is not YAML, or is no configuration of lightcurver.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise LcfError(f"{path} can't be read: {error}") from None
    except yaml.YAMLError as error:
        raise LcfError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("ROI"), dict):
        raise LcfError(f"{path} is no configuration of lightcurver: there is no ROI in it")
    draft = Draft(path.resolve(), directory.resolve(), raw, comments=users_comments(text))
    for key, value in {**raw, **{k: v for k, v in IF_ABSENT.items() if k not in raw}}.items():
        known = KEYS.get(str(key))
        draft.begin(str(key))
        if known is None:
            close = difflib.get_close_matches(str(key), KEYS, n=1)
            draft.note("no key of lightcurver 1.2" + (f"; is {close[0]} meant?" if close else ""))
            continue
        try:
            known.write(draft, value)
        except (UnusableInput, TypeError, ValueError, AttributeError, KeyError) as error:
            reason = str(error) if isinstance(error, UnusableInput) else "a value of another kind is expected"
            draft.note(f"{value!r} is not converted: {reason}")
    return Converted(draft.text(), tuple(draft.notes))
