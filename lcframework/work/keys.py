"""What units of work are called: a value for each kind of unit, and the text that the database holds of it."""

from __future__ import annotations

from typing import ClassVar, Self

import attrs


@attrs.frozen
class UnitKey:
    """Names one unit of a stage; ``str`` of it is what ``products.unit`` holds.

    A kind of unit is a subclass: a frozen attrs class whose fields, texts or integers, are joined by colons behind
    `prefix`. Only the first field's text may hold colons. A field that has its default is left out.

    Attributes
    ----------
    prefix : str
        What tells the kind from the stage's other kinds; empty where a stage has only one.
    """

    prefix: ClassVar[str] = ""

    def __str__(self) -> str:
        """Return the key as the database holds it."""
        values = [
            str(value)
            for field, value in zip(attrs.fields(type(self)), attrs.astuple(self), strict=True)
            if field.default is attrs.NOTHING or value != field.default
        ]
        return ":".join([self.prefix, *values] if self.prefix else values)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the key of this kind that a text of the database is, or None where it is of another kind."""
        fields = attrs.fields(cls)
        head, colon, body = text.partition(":") if cls.prefix else ("", ":" if fields else "", text)
        if head != cls.prefix or bool(colon) != bool(fields):
            return None
        values = body.rsplit(":", len(fields) - 1) if fields else []
        if len(values) < sum(field.default is attrs.NOTHING for field in fields):
            return None
        try:
            return cls(*(int(v) if f.type in (int, "int") else v for f, v in zip(fields, values, strict=False)))
        except ValueError:
            return None


@attrs.frozen
class ProjectKey(UnitKey):
    """All of a project."""

    prefix: ClassVar[str] = "project"


@attrs.frozen
class FrameKey(UnitKey):
    """A frame; or, with a field of reference stars, what belongs to that field in the frame."""

    prefix: ClassVar[str] = "frame"
    frame_id: int
    field: str = ""


@attrs.frozen
class MasterKey(UnitKey):
    """A master frame of a reduction, by its plan's name behind the instrument's where that has settings of its own."""

    prefix: ClassVar[str] = "master"
    name: str


@attrs.frozen
class SolverStarsKey(UnitKey):
    """The catalogue stars that frames are solved with."""

    prefix: ClassVar[str] = "catalogue stars of the field"


@attrs.frozen
class FieldStarsKey(UnitKey):
    """The reference stars of a field."""

    prefix: ClassVar[str] = "stars"
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
