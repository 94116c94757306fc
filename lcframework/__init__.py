"""lcframework: light curves of blended point sources from wide-field images.

``from lcframework import Project`` is the Python interface; plugins use :mod:`lcframework.types` and
:mod:`lcframework.hookspecs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lcframework.project import Project

__all__ = ["Project", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "Project":  # imported at first use, so that `lcf --help` does not import astropy
        from lcframework.project import Project

        return Project
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
