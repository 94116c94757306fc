"""Where something stands in a plugin's source: file and line."""

from __future__ import annotations

import inspect
import traceback
import types
from typing import Any


def place_of(thing: Any) -> str:
    """Return file and line of a class or function as `` (file, line n)``; empty where they can't be found."""
    try:
        function = inspect.unwrap(thing) if callable(thing) and not inspect.isclass(thing) else thing
        if isinstance(function, types.MethodType):
            function = function.__func__
        if isinstance(function, types.FunctionType):
            return _text(function.__code__.co_filename, function.__code__.co_firstlineno)
        if inspect.ismodule(function):
            return _text(function.__file__ or "", 1)
        _, line = inspect.getsourcelines(function)
        return _text(inspect.getsourcefile(function) or "", line)
    except (OSError, TypeError, ValueError):
        return ""


def raised_at(error: BaseException, module: str) -> str:
    """Return the line of a plugin that an exception came through last, as `place_of` does.

    Parameters
    ----------
    error : BaseException
        With its traceback.
    module : str
        The plugin's module; lines of its package count as its own. Where there is none, the last line of all counts.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return _text(error.filename, error.lineno or 0)
    own = module.partition(".")[0]
    last = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        name = str(frame.f_globals.get("__name__", ""))
        if own and name.partition(".")[0] == own:
            last = _text(frame.f_code.co_filename, line)
    return last


def _text(file: str, line: int) -> str:
    return f" ({file}, line {line})" if file and not file.startswith("<") else ""
