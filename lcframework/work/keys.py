"""Unit keys, which identify units of work: a class for each kind of unit, and the text stored in the database."""

from __future__ import annotations

import functools
from typing import Any, ClassVar, Self, TypeVar

import attrs

K = TypeVar("K", bound="UnitKey")


@attrs.frozen
class UnitKey:
    """Identifies one unit of a stage; ``str`` of it is stored in ``products.unit``.

    Each kind of unit has a subclass: a frozen attrs class with texts or integers as attributes. The stored text is
    `prefix` and the attributes, joined by colons. Only the first attribute may contain colons. An attribute at its
    default is left out.

    Attributes
    ----------
    prefix : str
        Distinguishes the kinds of units of a stage; empty where a stage has only one kind.
    """

    prefix: ClassVar[str] = ""

    def __str__(self) -> str:
        """Return the unit key as the text that the database stores."""
        parts = [self.prefix] if self.prefix else []
        for name, default in _defaults(type(self)):  # type: ignore[arg-type]  # classes are hashable
            value = getattr(self, name)
            if default is attrs.NOTHING or value != default:
                parts.append(str(value))
        return ":".join(parts)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the unit key for a stored text, or None where the text belongs to another kind of unit."""
        return _parsed(cls, text)  # type: ignore[arg-type]  # as above

    @classmethod
    def _parse(cls, text: str) -> Self | None:
        attributes = attrs.fields(cls)
        head, colon, body = text.partition(":") if cls.prefix else ("", ":" if attributes else "", text)
        if head != cls.prefix or bool(colon) != bool(attributes):
            return None
        values = body.rsplit(":", len(attributes) - 1) if attributes else []
        if len(values) < sum(a.default is attrs.NOTHING for a in attributes):
            return None
        try:
            return cls(*(int(v) if a.type in (int, "int") else v for a, v in zip(attributes, values, strict=False)))
        except ValueError:
            return None


@functools.cache
def _defaults(kind: type[UnitKey]) -> list[tuple[str, Any]]:
    """Return the attributes of a kind of unit key, each with its default."""
    return [(attribute.name, attribute.default) for attribute in attrs.fields(kind)]


@functools.lru_cache(1 << 17)  # each plan asks for the keys of all frames many times
def _parsed(kind: type[K], text: str) -> K | None:
    return kind._parse(text)


@attrs.frozen
class ProjectKey(UnitKey):
    """The whole project."""

    prefix: ClassVar[str] = "project"


@attrs.frozen
class FrameKey(UnitKey):
    """A frame; or, where `field` is given, a frame together with one field of reference stars."""

    prefix: ClassVar[str] = "frame"
    frame_id: int
    field: str = ""


@attrs.frozen
class MasterKey(UnitKey):
    """A master frame; `name` is the name of its plan, after the name of an instrument that has overrides."""

    prefix: ClassVar[str] = "master"
    name: str


@attrs.frozen
class SolverStarsKey(UnitKey):
    """The catalogue stars that are used to solve frames."""

    prefix: ClassVar[str] = "catalogue stars of the field"


@attrs.frozen
class FieldStarsKey(UnitKey):
    """The reference stars of a field."""

    prefix: ClassVar[str] = "stars"
    field: str


@attrs.frozen
class PassedStarsKey(UnitKey):
    """The catalogued stars that the moving regions of a field pass."""

    prefix: ClassVar[str] = "passed stars"
    field: str


@attrs.frozen
class HotPixelsKey(UnitKey):
    """The hot pixels of an instrument."""

    prefix: ClassVar[str] = "hot"
    instrument: str


@attrs.frozen
class StarKey(UnitKey):
    """A reference star in all frames of a field, instrument and band."""

    prefix: ClassVar[str] = "star"
    star: str
    field: str
    instrument: str
    band: str


@attrs.frozen
class FieldGroupKey(UnitKey):
    """All frames of a field, instrument and band."""

    field: str
    instrument: str
    band: str


@attrs.frozen
class RegionGroupKey(UnitKey):
    """All frames of a region of interest, instrument and band."""

    roi: str
    instrument: str
    band: str


@attrs.frozen
class FitKey(UnitKey):
    """The model of a region of interest in one instrument and band."""

    prefix: ClassVar[str] = "fit"
    roi: str
    instrument: str
    band: str


@attrs.frozen
class LightCurveKey(UnitKey):
    """The light curve of a region of interest, in all instruments and bands."""

    prefix: ClassVar[str] = "light_curve"
    roi: str
