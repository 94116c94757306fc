"""Checks of what stands around a run: report panels, commands, listeners."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from lcframework.project import Project
from lcframework.testing.conformance.contract import name_of, require
from lcframework.testing.finished_project import example_project
from lcframework.types import RunEvent

#: Elements without an end.
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
#: Seconds that a listener may take for an event: the run waits for it.
_PATIENCE = 0.5


class _Fragment(HTMLParser):
    """Finds elements that are not closed, that a page has once, and that load something from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("html", "head", "body", "title"):
            self.faults.append(f"<{tag}> belongs to the page; return what stands inside a section")
        if tag not in _VOID:
            self.open.append(tag)
        where = dict(attrs).get("src") or (dict(attrs).get("href") if tag == "link" else "") or ""
        if where and not where.startswith("data:"):
            self.faults.append(f"<{tag}> loads {where}: the report is one file, which is read without a network")

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        elif tag not in _VOID:
            self.faults.append(f"</{tag}> closes nothing")


def check_report_panel(kind: Any, project: Path | None = None) -> None:
    """Check a report panel on a finished project and on one without any product.

    Parameters
    ----------
    kind : type or Panel
        The panel's class, or a panel.
    project : Path, optional
        The project file of a finished project; without it, a small one of its own.

    Raises
    ------
    AssertionError
        States which requirement is not fulfilled, and what to do.
    """
    panel = kind() if isinstance(kind, type) else kind
    who = name_of(panel)
    title = getattr(panel, "title", None)
    require(isinstance(title, str) and title.strip(), who, "has no title, the section's heading")
    require(callable(getattr(panel, "render", None)), who, "has no method render(project)")
    with tempfile.TemporaryDirectory() as folder:
        for finished in (True, False):
            which = "a finished project" if finished else "a project that has not run yet"
            path = project if finished and project else example_project(Path(folder) / str(finished), finished)
            opened = Project.open(path)
            opened.engine().dispose()  # makes the tables: a report needs a database
            try:
                texts = [panel.render(opened) for _ in range(2)]
            except Exception as error:
                raise AssertionError(
                    f"{who}: fails on {which}: {type(error).__name__}: {error}; return an empty text where there is "
                    "nothing to show"
                ) from error
            require(isinstance(texts[0], str), who, f"render returned a {type(texts[0]).__name__}, not a text")
            require(texts[0] == texts[1], who, f"says something else the second time, of {which}")
            faults = _Fragment(texts[0]).faults
            require(not faults, who, f"{which}: {'; '.join(faults[:3])}")


def check_command(command: Any, name: str = "") -> None:
    """Check a command: that ``--help`` explains it and its options, and that wrong options end with exit code 2.

    Parameters
    ----------
    command : click.Command
        The command.
    name : str
        The name that it is offered under; empty: any.

    Raises
    ------
    AssertionError
        States which requirement is not fulfilled, and what to do.
    """
    import click
    from click.testing import CliRunner

    who = name or getattr(command, "name", None) or name_of(command)
    require(isinstance(command, click.Command), who, f"is a {type(command).__name__}, not a click command")
    require(not name or command.name == name, who, f'calls itself "{command.name}": @click.command("{name}") agrees '
                                                   "with what it is offered as")  # fmt: skip
    require((command.help or "").strip(), who, "has no docstring, which `--help` shows")
    for option in command.params:
        explained = not isinstance(option, click.Option) or (option.help or "").strip()
        require(explained, who, f"the option {option.opts[0] if option.opts else option.name} has no help")
    for arguments, code in ((["--help"], 0), (["--no-such-option"], 2)):
        ended = CliRunner().invoke(command, arguments, prog_name=f"lcf {who}")
        require(ended.exit_code == code, who, f"{arguments[0]} ends with exit code {ended.exit_code}, not {code}")


def check_listener(listener: Callable[..., Any]) -> None:
    """Check a listener of events: ``lcf_event``.

    It gets every kind of event, and one that does not exist yet; it must take none of them amiss, return nothing and
    not keep the run waiting.

    Raises
    ------
    AssertionError
        States which requirement is not fulfilled, and what to do.
    """
    who = getattr(listener, "__name__", name_of(listener))
    for kind in (*RunEvent.KINDS, "a kind of a later version"):
        event = RunEvent(kind, "psf_modeling", "frame 1", "as an example", 1, 2)
        started = time.perf_counter()
        try:
            answer = listener(event=event)
        except Exception as error:
            raise AssertionError(f"{who}: fails on {kind}: {type(error).__name__}: {error}") from error
        seconds = time.perf_counter() - started
        require(answer is None, who, f"returns {answer!r} on {kind}; what a listener returns is lost")
        require(
            seconds < _PATIENCE, who, f"keeps the run waiting for {seconds:.1f} s on {kind}; use a thread or a process"
        )
