"""Finds what is installed, and says whom to tell of its faults and which required packages are not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any

import attrs

from lcframework.entry_points import BUILT_IN, COMMAND_PREFIX, addresses, entry_points, origin_of, package_of


@attrs.frozen
class Found:
    """A plugin that is there and not loaded yet.

    Attributes
    ----------
    name : str
        Of the entry point, or of the file.
    origin : str
        The package and its version, or where it lies.
    loader : callable
        Returns the module, or any object with hook implementations.
    module : str
        The name of the module, to tell its own lines in a traceback.
    """

    name: str
    origin: str
    loader: Callable[[], Any] = attrs.field(repr=False)
    module: str = ""


def installed() -> list[Found]:
    """Return the plugins of this environment in the order of their names, without commands."""
    points = (p for p in entry_points() if not p.name.startswith(COMMAND_PREFIX))
    return [Found(p.name, origin_of(p), p.load, p.module) for p in points]


def contact(origin: str) -> str:
    """Return where to report what is wrong with a plugin: its package's issue tracker, or the best that it names."""
    package = package_of(origin)
    try:
        about = metadata.metadata(package)
    except (metadata.PackageNotFoundError, ValueError):
        return f"the authors of {origin}"
    urls = addresses(about)
    for label in ("issues", "issuetracker", "bugtracker", "tracker", "bugs", "repository", "source", "homepage"):
        if label in urls:
            return f"{package}: {urls[label]}"
    if package == BUILT_IN:
        return "the issues of lcframework"
    known = next((about[key] for key in ("Home-page", "Author-email", "Author") if key in about), "")
    return f"{package}: {known}" if known else f"the authors of {package}"


def unmet(requirements: Iterable[str]) -> list[str]:
    """Return a sentence for each requirement, such as ``lcf-skymapper>=1.2``, that this environment does not meet."""
    from packaging.requirements import Requirement

    sentences = []
    for text in requirements:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            sentences.append(f"[plugins] requires {text}, which is not installed: pip install '{text}'")
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            sentences.append(f"[plugins] requires {text}; installed is {version}: pip install '{text}'")
    return sentences
