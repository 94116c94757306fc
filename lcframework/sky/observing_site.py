"""Where on Earth frames were taken."""

from __future__ import annotations

from lcframework.config.project_file import Config
from lcframework.provenance import Components


def observing_site(config: Config) -> Components | None:
    """Return the telescope's position on Earth as a component, or None where it is not known."""
    t = config.telescope
    return {"at": [t.latitude, t.longitude, t.elevation]} if t else None
