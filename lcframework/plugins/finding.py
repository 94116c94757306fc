"""Finds what is installed: entry points with the package that they belong to, and what is switched off."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any

import attrs

GROUP = "lcframework"
COMMAND_PREFIX = "command."
#: The package whose plugins are built in.
BUILT_IN = "lcframework"
#: An environment variable: names of plugins or packages that are not loaded, separated by commas; or `EVERY`.
DISABLED = "LCF_DISABLE_PLUGINS"
#: All plugins that are not built in.
EVERY = "all"


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
    points = sorted(metadata.entry_points(group=GROUP), key=lambda p: (p.name, p.value))
    return [
        Found(p.name, release(p.dist) or p.value, p.load, p.module)
        for p in points
        if not p.name.startswith(COMMAND_PREFIX)
    ]


@functools.cache
def release(dist: metadata.Distribution | None) -> str:
    """Return a distribution's name and version; cached, because many entry points share a distribution."""
    return f"{dist.name} {dist.version}" if dist is not None else ""


def package_of(origin: str) -> str:
    """Return the name of the package of an origin, "package version"."""
    return origin.split(" ")[0]


def version_of(origin: str) -> str:
    """Return the version of an origin, "package version"; empty where it has none."""
    return origin.partition(" ")[2]


@functools.cache
def is_built_in(origin: str) -> bool:
    """Return whether what has this origin belongs to lcframework itself."""
    return plain_name(package_of(origin)) == BUILT_IN


def plain_name(name: str) -> str:
    """Return the name of a package as names are compared: ``LCF_Moffat`` is ``lcf-moffat``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def switched_off(name: str, origin: str, disabled: Iterable[str]) -> str:
    """Return who switches a plugin off: the environment variable or the project file; empty where nobody does."""
    for names, who in ((os.environ.get(DISABLED, "").split(","), DISABLED), (disabled, "[plugins] disable")):
        for one in (n.strip() for n in names):
            if one == EVERY and who == DISABLED:
                if not is_built_in(origin):
                    return f"{DISABLED} or --no-plugins"
            elif one and plain_name(one) in (plain_name(name), plain_name(package_of(origin))):
                return who
    return ""


def contact(origin: str) -> str:
    """Return where to report what is wrong with a plugin: its package's issue tracker, or the best that it names."""
    package = package_of(origin)
    try:
        about = metadata.metadata(package)
    except (metadata.PackageNotFoundError, ValueError):
        return f"the authors of {origin}"
    urls = {}
    for entry in about.get_all("Project-URL") or []:
        label, _, url = entry.partition(",")
        urls[re.sub(r"[^a-z]", "", label.lower())] = url.strip()
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
