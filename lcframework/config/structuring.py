"""Converts TOML tables to attrs classes with cattrs, option by option, so that all errors of a table are found."""

from __future__ import annotations

import functools
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

import attrs
import cattrs

from lcframework.options import nearest
from lcframework.types import LcfError

T = TypeVar("T")

#: Bytes of a name and of a path that most file systems allow; products need some in addition.
_LONGEST_NAME, _LONGEST_PATH = 255, 3800
#: Characters of a value in messages.
_SHOWN = 200


@attrs.frozen
class Problem:
    """An error in the project file.

    `name` is the dotted name of the option or table. `absent`: a plugin is not there, without which results that exist
    can still be read.
    """

    name: str
    message: str
    absent: bool = False


def nearest_or_allowed(word: str, known: Iterable[str]) -> str:
    """Return the known name nearest to `word` as a suggestion, or all allowed names where none is similar."""
    known = list(known)
    return nearest(word, known) or f"; allowed: {', '.join(known) or 'nothing'}"


def structure(cls: type[T], table: Mapping[str, Any], where: str, base: Path, problems: list[Problem]) -> T | None:
    """Return an attrs instance made from a table.

    Parameters
    ----------
    cls : type
        An attrs class.
    table : mapping
        Options and their values, as parsed from TOML.
    where : str
        The table's dotted name, for messages.
    base : Path
        The folder to which paths are relative.
    problems : list of Problem
        Errors are appended to this list.

    Returns
    -------
    instance or None
        None where there was an error.
    """
    before = len(problems)
    known = {f.name: f for f in attrs.fields(cls) if f.init}  # type: ignore[arg-type]
    missing = [n for n, f in known.items() if f.default is attrs.NOTHING and n not in table]
    hints = typing.get_type_hints(cls) if table or missing else {}  # slow; not needed if all are at their defaults
    convert = converter(base)
    values: dict[str, Any] = {}
    for option, value in table.items():
        dotted = f"{where}.{option}"
        if option not in known:
            problems.append(Problem(dotted, f'[{where}] has no option "{option}"{nearest_or_allowed(option, known)}'))
            continue
        try:
            values[option] = convert.structure(value, hints[option])
        except Exception as error:
            expected = allowed(hints[option])
            detail = _innermost(error)
            problems.append(
                Problem(dotted, f"[{where}] {option} = {_toml(value)}: {detail or 'not allowed'}; expected {expected}")
            )
    for name in missing:
        problems.append(Problem(where, f'[{where}] needs the option "{name}": {allowed(hints[name])}'))
    if len(problems) > before:
        return None
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        given = next((k for k in values if k in str(error)), "")
        problems.append(Problem(f"{where}.{given}" if given else where, f"[{where}] {error}"))
        return None


@functools.cache
def converter(base: Path) -> cattrs.Converter:
    """Return a converter that never converts one scalar type to another and resolves paths against `base`."""
    convert = cattrs.Converter(detailed_validation=False)
    for kind in (str, int, bool, float):
        convert.register_structure_hook(kind, _strict(kind))
    convert.register_structure_hook(Path, lambda value, _: resolve_path(_strict(str)(value, str), base))
    convert.register_structure_hook_factory(_is_union, lambda hint: _union(hint, convert))
    convert.register_structure_hook_factory(_is_fixed_tuple, lambda hint: _tuple(hint, convert))
    convert.register_structure_hook_factory(attrs.has, lambda cls: _nested(cls, base))
    return convert


def _strict(kind: type[Any]) -> Callable[[Any, Any], Any]:
    def check(value: Any, _: Any) -> Any:
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        raise ValueError(f"{_toml(value)} is not {allowed(kind)}")

    return check


def _union(hint: Any, convert: cattrs.Converter) -> Callable[[Any, Any], Any]:
    members = get_args(hint)

    def structure_union(value: Any, _: Any) -> Any:
        if value is None or (value == "" and type(None) in members and str not in members):
            return None  # TOML has no null: an empty string means "none"
        errors = []
        for member in members:
            if member is not type(None):
                try:
                    return convert.structure(value, member)
                except Exception as error:
                    errors.append(_innermost(error))
        raise ValueError(errors[-1])

    return structure_union


def _tuple(hint: Any, convert: cattrs.Converter) -> Callable[[Any, Any], Any]:
    members = get_args(hint)

    def structure_tuple(value: Any, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or len(value) != len(members):
            raise ValueError(f"{len(members)} values are needed")
        return tuple(convert.structure(v, m) for v, m in zip(value, members, strict=True))

    return structure_tuple


def _nested(cls: type[Any], base: Path) -> Callable[[Any, Any], Any]:
    def structure_nested(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("a table is needed")
        problems: list[Problem] = []
        made = structure(cls, value, cls.__name__, base, problems)
        if problems:
            raise ValueError("; ".join(p.message.partition("] ")[2] for p in problems))
        return made

    return structure_nested


def resolve_path(path: str, base: Path) -> Path:
    """Return a path that the project file gives, with environment variables and ~ expanded, relative to `base`.

    Raises
    ------
    LcfError
        Where no file system has such a path.
    """
    try:
        found = base / Path(os.path.expandvars(path)).expanduser()
    except RuntimeError as error:  # ~ of a user that is not there
        raise LcfError(f"{_toml(path)} can't be a path: {error}") from None
    longest = max((len(os.fsencode(part)) for part in found.parts), default=0)
    if longest > _LONGEST_NAME or len(os.fsencode(found)) > _LONGEST_PATH:
        raise LcfError(
            f"{_toml(path)} can't be a path: file systems take {_LONGEST_NAME} bytes for a name and "
            f"{_LONGEST_PATH} in all"
        )
    if any(ord(character) < 32 for character in path):
        raise LcfError(f"{path!r} can't be a path: it has a character that is none to write")
    return found


def _is_fixed_tuple(hint: Any) -> bool:
    origin: Any = get_origin(hint)
    return origin is tuple and Ellipsis not in get_args(hint)


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def allowed(hint: Any) -> str:
    """Return in words what a type hint allows."""
    words = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}
    if hint in words:
        return words[hint]
    origin, members = get_origin(hint), get_args(hint)
    if _is_union(hint):
        return " or ".join(allowed(m) if m is not type(None) else '""' for m in members)
    if origin is tuple and Ellipsis not in members:
        return f"[{', '.join(allowed(m) for m in members)}]"
    if origin in (list, tuple):
        return f"a list of values, each {allowed(members[0])}"
    if origin is not None and issubclass(origin, Mapping):
        return "a table" + (f" whose values are each {allowed(members[1])}" if members else "")
    if attrs.has(hint):
        return "a table with " + ", ".join(f.name for f in attrs.fields(hint))
    return getattr(hint, "__name__", str(hint))


def _innermost(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]}...{text[-1]}"
