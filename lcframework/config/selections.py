"""Where a project file selects plugins: in sections by ``plugin``, and in ``[roi.NAME]`` by an option of its own."""

from __future__ import annotations

from collections.abc import Sequence

from lcframework.config.project_file import OF_REGION, Config
from lcframework.plugins import SEAM_OF_SECTION, SEAMS, Seam

#: The seam whose plugin is selected region by region.
_OF_REGIONS = next(seam for seam in SEAMS if seam.of_region)


def selecting_sections(config: Config) -> tuple[str, ...]:
    """Return the names of the sections that select plugins, those of regions (``roi.NAME``) last."""
    return (*SEAM_OF_SECTION, *(OF_REGION + name for name in config.roi))


def seam_of(section: str) -> Seam:
    """Return the seam that a section selects plugins of."""
    return _OF_REGIONS if section.startswith(OF_REGION) else SEAM_OF_SECTION[section]


def option_of(section: str) -> str:
    """Return the name of the option by which a section selects its plugin."""
    return seam_of(section).of_region or "plugin"


def selected(config: Config, section: str) -> str | Sequence[str]:
    """Return what a section selects, as the project file says it."""
    region = section.removeprefix(OF_REGION)
    owner = config.roi[region] if region != section else getattr(config, section)
    chosen: str | Sequence[str] = getattr(owner, option_of(section))
    return chosen
