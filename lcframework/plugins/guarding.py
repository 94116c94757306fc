"""The one call by which plugins are asked: what fails, prints or answers wrongly is told of the plugin that did it.

A guarded call gives the plugin read-only inputs, checks its answer, sends what it prints to the log, and names plugin,
package, version, method and line where it fails. It costs some microseconds, and what the check of an answer takes.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from lcframework.entry_points import is_built_in
from lcframework.plugins.answers import WrongAnswer, checked
from lcframework.plugins.finding import contact
from lcframework.plugins.places import raised_at
from lcframework.plugins.shielding import shielded
from lcframework.types import STORAGE_FAILS, LcfError, NotSolved, PluginError

log = logging.getLogger(__name__)

#: Hooks whose classes take part without being selected.
_UNSELECTED = ("lcf_header_parsers", "lcf_setting_rules", "lcf_report_panels", "lcf_event")
#: Characters of what one call prints that are kept.
_KEPT = 4000


class PluginFault(PluginError):
    """A plugin raised what it may not raise, or answered what its hook does not allow."""


@attrs.frozen
class Source:
    """Who answers a call.

    Attributes
    ----------
    seam : str
        The section of the project file; the hook where there is none.
    hook : str
        The hook.
    name : str
        By which the project selects the class.
    plugin, origin : str
        The plugin; its package and version.
    module : str
        Of the class.
    """

    seam: str
    hook: str
    name: str
    plugin: str = ""
    origin: str = ""
    module: str = ""

    def __str__(self) -> str:
        """Return it as messages name it."""
        seam = self.seam if not self.seam or self.seam.startswith("lcf_") else f"[{self.seam}]"
        whose = " of ".join(part for part in (self.plugin, self.origin) if part)
        return f"{seam} {self.name}{f' ({whose})' if whose else ''}".lstrip()


@attrs.frozen
class Call:
    """A call of a plugin's method.

    Attributes
    ----------
    source : Source
        Who was asked.
    method : str
        For what.
    seconds : float
        That it took.
    unit : str
        The frame or other unit on which work was done.
    error : str
        Why it failed; empty where it answered.
    printed : str
        What it wrote to the standard output.
    answered : bool
        Whether it gave an answer other than that it has none.
    """

    source: Source
    method: str
    seconds: float
    unit: str = ""
    error: str = ""
    printed: str = ""
    answered: bool = True


_calls: contextvars.ContextVar[list[Call] | None] = contextvars.ContextVar("calls", default=None)
_unit: contextvars.ContextVar[str] = contextvars.ContextVar("unit", default="")


def asked(source: Source, method: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return a plugin's answer to a call.

    Parameters
    ----------
    source : Source
        Who is asked.
    method : str
        The name of the method.
    function : callable
        The bound method.
    *arguments
        Its arguments; the plugin sees their arrays and tables as read-only ones.

    Raises
    ------
    PluginFault
        Where it raises anything but the documented exceptions, or where its answer is none that the hook allows.
    LcfError
        What the plugin raises of these.
    """
    printed: list[str] = []
    error = ""
    answer = None
    started = time.perf_counter()
    try:
        with _prints_to(printed):
            answer = function(*(shielded(a, deep=not is_built_in(source.origin)) for a in arguments))
            return checked(source.hook, method, answer, arguments)
    except KeyboardInterrupt:
        raise
    except LcfError as failure:
        error = str(failure)
        raise
    except WrongAnswer as failure:
        error = f"{source}: {method} returned {failure}"
        raise fault(source, f"{method} returned {failure}") from None
    except BaseException as failure:  # also SystemExit
        if isinstance(failure, OSError) and failure.errno in STORAGE_FAILS:  # no plugin is to blame
            error = str(failure)
            raise
        what = " ".join(str(failure).split()) or "without a message"
        what = f"{method} raised {type(failure).__name__}: {what}{raised_at(failure, source.module)}"
        error = f"{source}: {what}"
        raise fault(source, what) from failure
    finally:
        seconds, text = time.perf_counter() - started, "".join(printed)[:_KEPT] if printed else ""
        none = error or answer is None or isinstance(answer, NotSolved)
        _note(Call(source, method, seconds, _unit.get(), error, text, not none))


def fault(source: Source, what: str) -> PluginFault:
    """Return an error that says who did what, and what to do: whom to tell, how to do without what nobody selected."""
    advice = f"Please report it to {contact(source.origin)}"
    if source.hook in _UNSELECTED and not is_built_in(source.origin):
        advice += f'; [plugins] disable = ["{source.plugin}"] switches it off'
    return PluginFault(f"{source}: {what}. {advice}")


def _note(call: Call) -> None:
    calls = _calls.get()
    if calls is not None:
        calls.append(call)
    elif call.printed:
        log_printed(call)


def log_printed(call: Call) -> None:
    """Write what a plugin printed to the log."""
    where = f", {call.unit}" if call.unit else ""
    log.info("%s printed%s: %s", call.source, where, call.printed.rstrip())


@contextlib.contextmanager
def collected() -> Iterator[list[Call]]:
    """Collect the calls that are made inside; nothing of them is logged, which is then the caller's work."""
    calls: list[Call] = []
    token = _calls.set(calls)
    try:
        yield calls
    finally:
        _calls.reset(token)


@contextlib.contextmanager
def working_on(unit: str) -> Iterator[None]:
    """State the unit on which work is done inside."""
    token = _unit.set(unit)
    try:
        yield
    finally:
        _unit.reset(token)


@contextlib.contextmanager
def silenced(source: Source) -> Iterator[None]:
    """Send what is printed inside to the log, as that of a plugin."""
    printed: list[str] = []
    try:
        with _prints_to(printed):
            yield
    finally:
        if printed:
            _note(Call(source, "", 0.0, _unit.get(), printed="".join(printed)[:_KEPT]))


# ---------------------------------------------------------------- the standard output

_buffer: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("buffer", default=None)
_lock = threading.Lock()
_users = 0
_replaced: Any = None


class _Router:
    """Stands in for the standard output while plugins work; threads in which none does still write to it.

    What it does not define, such as `fileno` and `isatty`, is that of the real one.
    """

    def __init__(self, real: Any) -> None:
        self._real = real

    def write(self, text: str) -> int:
        buffer = _buffer.get()
        if buffer is None:
            return int(self._real.write(text))
        buffer.append(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if _buffer.get() is None:
            self._real.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@contextlib.contextmanager
def _prints_to(buffer: list[str]) -> Iterator[None]:
    """Append to `buffer` what this thread writes to the standard output inside."""
    global _users, _replaced
    with _lock:
        if _users == 0:
            _replaced = sys.stdout
            sys.stdout = _Router(sys.stdout)
        _users += 1
    token = _buffer.set(buffer)
    try:
        yield
    finally:
        _buffer.reset(token)
        with _lock:
            _users -= 1
            if _users == 0:
                sys.stdout = _replaced
