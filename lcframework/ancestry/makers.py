"""Who made a product: the plugin, its package and version at that time, and the options that it had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lcframework.ancestry.facts import Line
from lcframework.ancestry.records import Records, Row, components_of
from lcframework.entry_points import BUILT_IN, is_built_in
from lcframework.plugins import SEAM_OF_SECTION
from lcframework.running.plugin_notes import RECORD
from lcframework.settings.deciding import shown
from lcframework.types import redacted

#: Of a part of the fingerprint: neither an option nor a section's setting.
_VERSION = "results_version"


@attrs.frozen
class Maker:
    """A plugin that took part, as it was when the product was made.

    Attributes
    ----------
    section, plugin : str
        Where the project file selects it, and its name.
    package : str
        The package that it came from, with its version; what is known of it where that is not certain.
    results_version : int, optional
        The version of its results.
    options : mapping
        Its options that were not at their defaults.
    """

    section: str
    plugin: str
    package: str
    results_version: int | None
    options: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def text(self) -> str:
        """It in words."""
        version = f", results version {self.results_version}" if self.results_version is not None else ""
        return f"{self.plugin} of {self.package}{version}{options_text(self.options)}"

    def as_json(self) -> dict[str, Any]:
        """Return it as ``--json`` has it."""
        return attrs.asdict(self)


def makers(records: Records, product: Row | None, section: str, instrument: str = "") -> list[Maker]:
    """Return the plugins of a section that a product was made by, as its fingerprint recorded them.

    Parameters
    ----------
    records : Records
        What was read.
    product : row of ``products``, optional
        The product.
    section : str
        The section of the project file.
    instrument : str
        The frame's: a project may have settings of its own for it.
    """
    own = recorded(product, section, instrument)
    named = own.get("plugin", [])
    found = []
    for name in [named] if isinstance(named, str) else named:
        options = {k: v for k, v in dict(own.get(name, {})).items() if k != _VERSION}
        version = dict(own.get(name, {})).get(_VERSION)
        found.append(Maker(section, name, package_of(records, product, section, name, version), version, options))
    return found


def recorded(product: Row | None, section: str, instrument: str = "") -> Mapping[str, Any]:
    """Return the part of a product's fingerprint that a section of the project file gave."""
    parts = components_of(product)
    by_instrument = parts.get("by_instrument", {})
    for of in (by_instrument.get(instrument, {}), by_instrument.get("", {}), parts):
        if isinstance(own := of.get(section), Mapping):  # stages name other inputs so too
            return own
    return {}


def package_of(records: Records, product: Row | None, section: str, name: str, version: int | None) -> str:
    """Return the package of a plugin, and its version when the product was made as far as that is recorded."""
    offers = records.project.plugins.offers(SEAM_OF_SECTION[section].hook)
    origin = next((o.origin for o in offers if o.name == name), "")
    run = records.run_of(product)
    if is_built_in(origin):
        return f"{BUILT_IN} {run.version}" if run is not None and run.version else BUILT_IN
    releases = components_of(records.product(RECORD, f"{section}:{name}"))
    if releases.get(_VERSION) == version and releases.get("releases"):
        return " or ".join(releases["releases"])
    return f"{origin} (as installed now)" if origin else "a package that is not installed now"


def by_line(found: list[Maker], label: str = "by") -> Line | None:
    """Return who it was in a line."""
    return Line(label, "; ".join(maker.text for maker in found)) if found else None


def options_text(options: Mapping[str, Any]) -> str:
    """Return options as a continuation of a sentence; empty where there are none."""
    if not options:
        return ""
    return ", with " + redacted(", ".join(f"{name} = {_short(value)}" for name, value in options.items()))


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and set(value) == {"file", "contents"}:
        return f"{value['file']} (SHA-256 {value['contents'][:12]})"
    return shown(value)
