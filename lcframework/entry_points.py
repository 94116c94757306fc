"""The entry points of plugins and their packages, by metadata alone: commands that import nothing start fast."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable
from importlib import metadata

GROUP = "lcframework"
COMMAND_PREFIX = "command."
#: The package whose plugins are built in.
BUILT_IN = "lcframework"
#: An environment variable: names of plugins or packages that are not loaded, separated by commas; or `EVERY`.
DISABLED = "LCF_DISABLE_PLUGINS"
#: All plugins that are not built in.
EVERY = "all"


def entry_points() -> list[metadata.EntryPoint]:
    """Return the entry points of this environment in the order of their names."""
    return sorted(metadata.entry_points(group=GROUP), key=lambda p: (p.name, p.value))


def origin_of(point: metadata.EntryPoint) -> str:
    """Return the package of an entry point and its version; what it names where that is not known."""
    return _release(point.dist) or point.value


@functools.cache
def _release(dist: metadata.Distribution | None) -> str:
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


def switched_off(name: str, origin: str, disabled: Iterable[str] = ()) -> str:
    """Return who switches a plugin off: the environment variable or the project file; empty where nobody does."""
    for names, who in ((os.environ.get(DISABLED, "").split(","), DISABLED), (disabled, "[plugins] disable")):
        for one in (n.strip() for n in names):
            if one == EVERY and who == DISABLED:
                if not is_built_in(origin):
                    return f"{DISABLED} or --no-plugins"
            elif one and plain_name(one) in (plain_name(name), plain_name(package_of(origin))):
                return who
    return ""


def addresses(about: metadata.PackageMetadata) -> dict[str, str]:
    """Return the addresses that a package states, by their labels in small letters: ``homepage``, ``bugtracker``."""
    found = {"home": str(about["Home-page"])} if "Home-page" in about else {}
    for entry in about.get_all("Project-URL") or []:
        label, _, url = entry.partition(",")
        found[re.sub(r"[^a-z]", "", label.lower())] = url.strip()
    return found
