"""What the options of a plugin mean, and in which unit: read from the comments beside them in its source."""

from __future__ import annotations

import ast
import inspect
import io
import re
import textwrap
import tokenize
import typing
from pathlib import Path
from typing import Any

import attrs

from lcframework.config.structuring import allowed
from lcframework.types.json_values import json_value

#: What a comment may begin with as the unit of an option, before a comma or a semicolon.
_UNIT = re.compile(
    r"^(s|ms|min|h|d|days|yr|mag|mmag|arcsec|arcmin|deg|degrees|rad|mas(?:/yr)?|pixels?(?:\^2)?|small pixels|ADU|DN|"
    r"e-(?:/s|/ADU|/unit of the data)?|unit of the (?:raw )?data|standard deviations|sigma|m|km|[kMG]i?B|"
    r"ppt|%|mag/mag|FWHM|W|K|degrees C)(?=[,;:.(]|$)"
)


@attrs.frozen
class OptionDoc:
    """An option of a plugin.

    Attributes
    ----------
    name : str
    default
        As JSON has it: infinities, nan and paths as texts.
    needed : bool
        Whether the project file must give it.
    allowed : str
        What may be given, in words.
    unit, meaning : str
        By the comment beside it, or by ``metadata={"unit": ..., "meaning": ...}``; empty where there is none.
    """

    name: str
    default: Any
    needed: bool
    allowed: str
    unit: str
    meaning: str


def option_docs(cls: type[Any]) -> list[OptionDoc]:
    """Return the options of a class, in order; none where it is no attrs class, as an executor."""
    if not attrs.has(cls):
        return []
    try:
        hints = typing.get_type_hints(cls)
    except Exception:  # an annotation that can't be resolved, which is shown as its text
        hints = {}
    comments = _comments(cls)
    rows = []
    for option in (f for f in attrs.fields(cls) if f.init):
        unit, meaning = _unit_and_meaning(comments.get(option.name, ""))
        needed = option.default is attrs.NOTHING
        rows.append(OptionDoc(
            option.name, None if needed else plain(_default(option)), needed,
            allowed(hints.get(option.name, option.type)),
            str(option.metadata.get("unit", unit)), str(option.metadata.get("meaning", meaning)),
        ))  # fmt: skip
    return rows


def _default(option: Any) -> Any:
    default = option.default
    if not isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return default
    return "(depends on others)" if default.takes_self else default.factory()


def plain(value: Any) -> Any:
    """Return a value as JSON has it: infinities, nan, paths and what else it has not as texts."""
    return json_value(value, not_finite=str, other=_of_other)


def _of_other(value: Any) -> Any:
    if attrs.has(type(value)):
        return plain(attrs.asdict(value, recurse=False))
    if isinstance(value, set | frozenset):
        return plain(list(value))
    return str(value) if isinstance(value, Path) else repr(value)


def _unit_and_meaning(comment: str) -> tuple[str, str]:
    match = _UNIT.match(comment)
    return (match[0], comment[match.end() :].lstrip(",;: ")) if match else ("", comment)


def _comments(cls: type[Any]) -> dict[str, str]:
    """Return the comments of a class's fields, those of its bases included."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if attrs.has(base):
            try:
                source = textwrap.dedent(inspect.getsource(base))
                found |= _comments_in(source)
            except (OSError, TypeError, SyntaxError, tokenize.TokenError):  # made by a program: there is no source
                continue
    return found


def _comments_in(source: str) -> dict[str, str]:
    """Return what stands beside the annotated names of a class, behind them or in the lines above."""
    lines: dict[int, str] = {}
    alone: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not re.match(r"#\s*(fmt|type|noqa|ruff)\b", token.string):
            lines[token.start[0]] = re.sub(r"\s*#\s*(type: ignore|noqa).*", "", token.string).lstrip("#: ").strip()
            if not token.line[: token.start[1]].strip():
                alone.add(token.start[0])
    found = {}
    for node in ast.parse(source).body:
        for field in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                beside = [lines[n] for n in range(field.lineno, (field.end_lineno or field.lineno) + 1) if n in lines]
                above: list[str] = []
                line = field.lineno - 1
                while line in alone and not beside:
                    above.insert(0, lines[line])
                    line -= 1
                if beside or above:
                    found[field.target.id] = " ".join(beside or above)
    return found
