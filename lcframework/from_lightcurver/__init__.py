"""lightcurver's YAML configuration as a project file of ours, with what has no equivalent said."""

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
    """A project file's text, and what to know about it: (key of the configuration, what became of it)."""

    text: str
    notes: tuple[tuple[str, str], ...]


def convert(path: Path, directory: Path) -> Converted:
    """Turn a configuration of lightcurver 1.2 into a project file.

    Parameters
    ----------
    path : Path
        The YAML file.
    directory : Path
        Where the project file will be, to which its paths are relative.

    Returns
    -------
    Converted
        Comments that the user wrote stand above the settings that they belong to; those of lightcurver's own example
        are left out.

    Raises
    ------
    LcfError
        Where the file is not YAML, or no configuration.
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
            said = str(error) if isinstance(error, UnusableInput) else "a value of another kind is expected"
            draft.note(f"{value!r} is not converted: {said}")
    return Converted(draft.text(), tuple(draft.notes))
