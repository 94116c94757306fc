"""The ancestry of a number of the light curve: all that it was made from, from the raw file to the flux.

Everything is read from the database and from files; nothing is written and nothing locked. Each module whose name is
one of a section's gathers that section.
"""

from __future__ import annotations

from lcframework.ancestry.facts import FORMAT, Ancestry, Line, Section
from lcframework.ancestry.points import Asked, understood
from lcframework.ancestry.surroundings import Surroundings
from lcframework.ancestry.tracing import Tracer, trace

__all__ = ["FORMAT", "Ancestry", "Asked", "Line", "Section", "Surroundings", "Tracer", "trace", "understood"]
