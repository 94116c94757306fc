"""Stages of plugins: each question that the driver asks them is a guarded call, so that their faults are their own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from sqlmodel import Session, select

from lcframework.plugins import Offer, Source, asked, fault
from lcframework.stages import CHAIN
from lcframework.storage.tables import Product
from lcframework.work import Stage, Unit

#: The methods of a stage that the driver calls.
_ASKED = (
    "units", "filled", "tasks", "prepare", "unprepared", "ready", "finish", "outdated", "outside", "noted", "forget",
    "retry",
)  # fmt: skip


def guarded(offer: Offer) -> type[Stage]:
    """Return a plugin's stage as a class whose methods raise `PluginFault` where they fail or answer wrongly."""
    cls: type[Stage] = offer.cls
    members: dict[str, Any] = {name: _guarded(offer.source, name, getattr(cls, name)) for name in _ASKED}
    members["source"] = offer.source
    members["__doc__"], members["__module__"] = cls.__doc__, cls.__module__
    return type(cls.__name__, (cls,), members)


def stages_with_products(session: Session) -> list[str]:
    """Return the stages of plugins, installed or not, of which the project has products."""
    own = {stage.name for stage in CHAIN}
    names = session.exec(select(Product.stage).where(Product.path != "").distinct()).all()
    return sorted(name for name in names if name not in own)


def _guarded(source: Source, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def ask(self: Stage, *arguments: Any) -> Any:
        answer = asked(source, name, functools.partial(method, self), *arguments)
        problem = _units_problem(self, answer) if name in ("units", "filled") else ""
        if problem:
            raise fault(source, f"{name} returned {problem}")
        return answer

    return ask


def _units_problem(stage: Stage, units: Any) -> str:
    """Return what is wrong with a stage's units, or an empty string."""
    if not isinstance(units, Sequence) or not all(isinstance(u, Unit) for u in units):
        return "something else than a list of lcframework.work.Unit"
    kinds = set(stage.tasks())
    strange = [u for u in units if type(u.key) not in kinds]
    if strange:
        return f"a unit {strange[0].key} of the kind {type(strange[0].key).__name__}, of which tasks() has no task"
    keys = [str(u.key) for u in units]
    return "two units of one key" if len(set(keys)) < len(keys) else ""
