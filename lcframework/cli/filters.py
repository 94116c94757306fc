"""The options ``--roi``, ``--band`` and ``--instrument``, which several commands take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from lcframework.work.scopes import UnknownName


def filters(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds the options, which limit `what` a command does."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for name, kind in (("instrument", "instrument"), ("band", "band"), ("roi", "region")):
            text = f"{what} of this {kind} only; may be repeated."
            option = click.option(f"--{name}", f"{name}s", metavar="NAME", multiple=True, help=text)
            function = option(function)
        return function

    return add


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn names that the project does not have into usage errors."""
    try:
        yield
    except UnknownName as error:
        raise click.UsageError(str(error)) from None
