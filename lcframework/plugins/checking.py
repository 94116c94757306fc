"""Checks what a plugin's module offers when it is loaded: each answer says what is wrong and what to do."""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from lcframework import hookspecs
from lcframework.options import nearest
from lcframework.plugins.names import RESERVED, STAGES
from lcframework.plugins.places import place_of
from lcframework.plugins.seams import HOOKS, Seam
from lcframework.plugins.stage_checks import stage_problem

_MARKER = f"{hookspecs.PROJECT}_impl"
#: Methods of classes of seams that have no protocol, with the parameters by which they are called.
CALLED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "lcf_executors": {"__init__": ("workers",), "run": ("task", "batches"), "close": ("kill",)},
    "lcf_report_panels": {"__init__": (), "render": ("project",)},
}


def hook_problems(module: Any) -> list[str]:
    """Return what is wrong with the functions of a module: names, markers, parameters, and kinds of hooks."""
    problems = []
    hooks = 0
    members = vars(module) if hasattr(module, "__dict__") else {}
    for name, function in members.items():
        options = getattr(function, _MARKER, None)
        marked = options is not None and not isinstance(function, type)
        if not marked and not (name.startswith("lcf_") and inspect.isfunction(function)):
            continue
        hooks += 1
        problem = _hook_problem(name, function, options if isinstance(options, Mapping) else None, marked)
        if problem:
            problems.append(problem + place_of(function))
    if not hooks:
        what = getattr(module, "__name__", type(module).__name__)
        problems.append(
            f"{what} has no hook: put a function such as lcf_calibration_surveys with @hookimpl before it into the "
            f"module, and name the module itself in the entry point{place_of(module)}"
        )
    return problems


def _hook_problem(name: str, function: Any, options: Mapping[str, Any] | None, marked: bool) -> str:
    if name not in HOOKS:
        return f"{name} is not a hook{nearest(name, HOOKS)}"
    if not marked:
        return f"{name} has no @hookimpl before it, so it would never be called"
    if options and (options.get("wrapper") or options.get("hookwrapper")):
        return f"{name} is a wrapper, which would never be called: write @hookimpl without arguments before it"
    wanted = list(inspect.signature(getattr(hookspecs, name)).parameters)
    given = inspect.signature(function).parameters
    for parameter in given.values():
        if parameter.name not in wanted:
            return f"{name} takes {parameter.name!r}; the hook gives {sorted(wanted) or 'nothing'}"
        if parameter.default is not inspect.Parameter.empty:
            return f"{name}: the parameter {parameter.name!r} has a default and would never get its value"
    if len(given) < len(wanted):
        return f"{name} takes ({', '.join(given)}); it is called with ({', '.join(wanted)})"
    return ""


def name_problem(name: Any) -> str:
    """Return why a class can't be offered under a name, or an empty string."""
    if not isinstance(name, str):
        return f"the name is a {type(name).__name__}, not a text"
    if name in RESERVED:
        return f'"{name}" has a meaning of its own in the project file: choose another name'
    if not re.fullmatch(r"[\w+-][\w.+-]*", name):
        return "a name consists of letters, digits, . _ + and -"
    return ""


def class_problem(cls: Any, seam: Seam, name: str = "") -> str:
    """Return why a class can't be used for a seam, or an empty string; `name` is the name that it is offered under."""
    if not inspect.isclass(cls):
        return f"is a {type(cls).__name__}, not a class"
    if seam.hook == "lcf_stages":
        return stage_problem(cls, name) or _common_problem(cls)
    if seam.hook in CALLED:
        return _called_problem(cls, seam.hook)
    if not attrs.has(cls):
        return f"{cls.__name__} is not an attrs class; put @attrs.frozen before it"
    return (
        _protocol_problem(cls, seam.protocol)
        or _common_problem(cls)
        or (_pickle_problem(cls) if seam.selected else "")
        or (_rule_problem(cls) if seam.hook == "lcf_setting_rules" else "")
    )


def _protocol_problem(cls: type[Any], protocol: type[Any] | None) -> str:
    for name, _ in inspect.getmembers(protocol, lambda member: isinstance(member, property)):
        if not hasattr(cls, name) and name not in attrs.fields_dict(cls):
            return f"{cls.__name__} has no attribute {name}"
    for name, wanted in inspect.getmembers(protocol, inspect.isfunction):
        if name.startswith("_"):
            continue
        method = getattr(cls, name, None)
        if not callable(method):
            return f"{cls.__name__} has no method {name}{inspect.signature(wanted)}"
        theirs = [p for p in inspect.signature(method).parameters if p != "self"]
        ours = [p for p in inspect.signature(wanted).parameters if p != "self"]
        if theirs != ours:
            return f"{cls.__name__}.{name} takes ({', '.join(theirs)}); it is called with ({', '.join(ours)})"
    return ""


def _common_problem(cls: type[Any]) -> str:
    """Return what is wrong with the version or the options of an attrs class."""
    version = getattr(cls, "results_version", 1)
    if not isinstance(version, int) or isinstance(version, bool):
        return f"results_version = {version!r} is no whole number: write results_version: ClassVar[int] = 1"
    fields = {f.name: f for f in attrs.fields(cls)}
    for name, field in fields.items():
        if field.init and field.type is None:
            return f"the option {name} has no annotation: write {name}: float = ... or of whichever type it is"
    for name, hint in inspect.get_annotations(cls).items():
        if name not in fields and not name.startswith("_") and "ClassVar" not in str(hint):
            return f"{name} is no option, because {cls.__name__} has no @attrs.frozen before it"
    try:
        if fields:
            typing.get_type_hints(cls)
    except Exception as error:
        return f"the annotations of its options can't be read ({error}): import what they name when the module loads"
    operational: Any = getattr(cls, "operational", frozenset())
    if isinstance(operational, str) or not isinstance(operational, Iterable):
        return f"operational = {operational!r} is no set of names: write frozenset({{...}})"
    return ""


def _pickle_problem(cls: type[Any]) -> str:
    """Return why workers could not get instances of a class."""
    here: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        here = getattr(here, part, None)
    if "<locals>" in cls.__qualname__ or (cls.__module__ in sys.modules and here is not cls):
        return f"{cls.__name__} can't be sent to worker processes: define it at the top of its module, by this name"
    return ""


def _rule_problem(cls: type[Any]) -> str:
    settings = getattr(cls, "settings", ())
    if isinstance(settings, str) or not all(isinstance(s, str) for s in settings) or not settings:
        return "settings must be a tuple of dotted names of options"
    if cls.before not in STAGES:
        return f'before = "{cls.before}" is no stage{nearest(str(cls.before), STAGES)}'
    if not isinstance(cls.frames, int) or cls.frames < 1:
        return f"frames = {cls.frames!r} is no whole number from 1"
    missing = [f.name for f in attrs.fields(cls) if f.init and f.default is attrs.NOTHING]
    return f"the option {missing[0]} has no default, and nobody could give it a value" if missing else ""


def _called_problem(cls: type[Any], hook: str) -> str:
    """Return what is wrong with the methods of an executor or a panel."""
    for name, wanted in CALLED[hook].items():
        method: Callable[..., Any] | None = getattr(cls, name, None)
        call = f"{name}({', '.join(wanted)})" if name != "__init__" else f"{cls.__name__}({', '.join(wanted)})"
        if not callable(method):
            return f"{cls.__name__} has no method {call}"
        try:
            parameters = list(inspect.signature(cls if name == "__init__" else method).parameters.values())
        except ValueError:
            continue
        own = [p for p in parameters if p.name != "self" or name == "__init__"]
        needed = [
            p.name for p in own if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        if any(p.kind is p.VAR_POSITIONAL for p in own):
            continue
        takes = [p.name for p in own]
        if len(needed) > len(wanted) or len(takes) < len(wanted) or (name == "close" and "kill" not in takes):
            return f"{cls.__name__}: {name} takes ({', '.join(takes)}); it is called as {call}"
    if hook == "lcf_report_panels" and not hasattr(cls, "title") and "title" not in getattr(cls, "__annotations__", {}):
        return f"{cls.__name__} has no attribute title, the heading of its section"
    return ""
