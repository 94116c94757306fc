"""Options are told with the unit and the meaning that stand beside them in the source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from lcframework.options import positive
from lcframework.plugin_kit.option_docs import option_docs
from lcframework.plugins import Plugins


@attrs.frozen
class Base:
    inherited: float = 1.0  # s, a time


@attrs.frozen
class Documented(Base):
    """A class with options of every kind."""

    version: ClassVar[int] = 3  # no option
    radius: float = attrs.field(default=1.5, validator=positive)  # arcsec
    flag: bool = True
    # pixels, explained above
    # in two lines
    size: int = 24
    wide: float = attrs.field(
        default=2.0,
        validator=positive,
    )  # mag; behind several lines
    slope: float = 0.07  # mag a magnitude of BP - RP
    limit: float = float("inf")  # e-/s: none
    path: Path | None = None  # where answers are kept
    names: tuple[str, ...] = ("a", "b")
    given: int = attrs.field(kw_only=True, metadata={"unit": "km", "meaning": "by metadata"})  # not this


def told() -> dict[str, Any]:
    return {o.name: o for o in option_docs(Documented)}


@pytest.mark.parametrize(
    ("name", "default", "unit", "meaning"),
    [
        ("inherited", 1.0, "s", "a time"), ("radius", 1.5, "arcsec", ""), ("flag", True, "", ""),
        ("size", 24, "pixels", "explained above in two lines"), ("wide", 2.0, "mag", "behind several lines"),
        ("slope", 0.07, "", "mag a magnitude of BP - RP"), ("limit", "inf", "e-/s", "none"),
        ("path", None, "", "where answers are kept"), ("names", ["a", "b"], "", ""),
        ("given", None, "km", "by metadata"),
    ],
)  # fmt: skip
def test_units_meanings_and_typed_defaults(name: str, default: Any, unit: str, meaning: str) -> None:
    option = told()[name]
    assert (option.default, option.unit, option.meaning) == (default, unit, meaning)
    assert type(option.default) is type(default)


def test_class_attributes_are_no_options_and_needed_ones_are_marked() -> None:
    assert [name for name, o in told().items() if o.needed] == ["given"]
    assert "version" not in told()


def test_defaults_of_every_installed_plugin_are_valid_json() -> None:
    for plugin in Plugins.installed().plugins:
        for offer in plugin.offers:
            json.dumps([attrs.asdict(o) for o in option_docs(offer.cls)], allow_nan=False)


def test_classes_without_source_or_attrs_have_no_comments() -> None:
    made = attrs.make_class("Made", {"x": attrs.field(default=1, type=int)})
    assert [(o.name, o.meaning) for o in option_docs(made)] == [("x", "")]
    assert option_docs(dict) == []
