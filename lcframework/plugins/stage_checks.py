"""Checks stages of plugins: names, predecessors, methods; and where each stands in the chain."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

import attrs

from lcframework.options import nearest
from lcframework.plugins.names import SECTION_NAMES, STAGES

#: The base class of stages, by module and name: it stands above this package.
_BASE = ("lcframework.work.stage", "Stage")
_DEFINED = ("units", "tasks")


def stage_problem(cls: type[Any], offered: str = "") -> str:
    """Return why a class can't be a stage, or an empty string; `offered` is the name that the hook gives."""
    base = next((c for c in cls.__mro__ if (c.__module__, c.__qualname__) == _BASE), None)
    if base is None or cls is base:
        return f"{cls.__name__} is not a stage: derive it from lcframework.work.Stage"
    return _names_problem(cls, offered) or _methods_problem(cls, base)


def _names_problem(cls: type[Any], offered: str) -> str:
    name = cls.name
    if not isinstance(name, str) or not re.fullmatch(r"[a-z]\w*", name):
        return f"name = {name!r}: a stage's name is that of its section, of small letters, digits and _"
    if offered and name != offered:
        return f'the hook calls it "{offered}", its class "{name}": give both one name'
    if name in STAGES:
        return f'"{name}" is a stage of lcframework: choose another name'
    if name in SECTION_NAMES:
        return f"[{name}] is a section of the project file, which would be taken for the stage's: choose another name"
    if not isinstance(cls.after, str) or not cls.after:
        return 'it does not say which stage it follows: write after: ClassVar[str] = "..."'
    for attribute in ("needs", "makes"):
        value = getattr(cls, attribute)
        if not isinstance(value, tuple) or not all(isinstance(v, str) for v in value):
            return f"{attribute} = {value!r} is no tuple of names: write ({value!r},)"
    return ""


def _methods_problem(cls: type[Any], base: type[Any]) -> str:
    for name in _DEFINED:
        if getattr(cls, name, None) is getattr(base, name):
            return f"{cls.__name__} has no method {name}{inspect.signature(getattr(base, name))}"
    for name, wanted in vars(base).items():
        if name.startswith("_") or not inspect.isfunction(wanted):
            continue
        own = getattr(cls, name)
        if own is wanted or not inspect.isfunction(own):
            continue
        theirs, ours = list(inspect.signature(own).parameters), list(inspect.signature(wanted).parameters)
        if theirs != ours:
            return f"{cls.__name__}.{name} takes ({', '.join(theirs)}); it is called with ({', '.join(ours)})"
    missing = [f.name for f in attrs.fields(cls) if f.init and f.type is None]
    return f"the option {missing[0]} has no annotation" if missing else ""


def chain_problems(stages: Sequence[Any]) -> dict[int, str]:
    """Return the stages that have no place in the chain, by their index, with the reason.

    Parameters
    ----------
    stages : sequence of type
        The classes of plugins' stages; several may have one name, of which a project chooses.
    """
    names = {cls.name for cls in stages}
    placed = set(STAGES)
    while more := {cls.name for cls in stages if cls.after in placed} - placed:
        placed |= more
    found = ((i, _place_problem(cls, names, placed)) for i, cls in enumerate(stages))
    return {i: problem for i, problem in found if problem}


def _place_problem(cls: Any, names: set[str], placed: set[str]) -> str:
    known = [*STAGES, *names]
    if cls.after == cls.name:
        return "it comes after itself"
    if cls.after in names and cls.after not in placed:
        return f'it comes after "{cls.after}", which has no place in the chain'
    if cls.after not in placed:
        return f'it comes after "{cls.after}", which is no stage{nearest(cls.after, known)}'
    for need in cls.needs:
        if need not in known:
            return f'it needs "{need}", which is no stage{nearest(need, known)}'
        if cls.after in STAGES and need in STAGES[STAGES.index(cls.after) + 1 :]:
            return f'it needs "{need}", which comes after "{cls.after}": write after = "{need}"'
    return ""
