"""The check of a class looks at the methods of the optional abilities of its seam."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

import lcframework.testing as suite
from lcframework import protocols


def plugin(protocol: type[Any], **methods: Any) -> Any:
    """Return a plugin with the methods of a protocol, and these."""
    required = {name: method for name, method in vars(protocol).items() if callable(method) and name[0] != "_"}
    cls = attrs.frozen(type("Odd", (), {**required, **methods}))
    globals()["Odd"] = cls  # so that it pickles
    cls.__module__, cls.__qualname__ = __name__, "Odd"
    return cls()


WRONG = [
    (protocols.Reduction, {"doubts": lambda self, frame: ()}, "doubts takes (frame)"),
    (protocols.Ephemeris, {"position_errors": lambda self, times: times}, "position_errors takes (times)"),
    (protocols.RoiModel, {"for_moving_target": lambda self, track: self}, "for_moving_target takes (track)"),
    (protocols.Exporter, {"files": lambda self: {}}, "files takes ()"),
    (
        protocols.Exporter,
        {"recognises": lambda self, path, text: True, "faults": lambda self, path: ()},
        "recognises takes (path, text)",
    ),
    (
        protocols.Exporter,
        {"recognises": lambda self, path: True, "faults": lambda self, path, table: ()},
        "faults takes (path, table)",
    ),
    (protocols.Photometry, {"warm_up": lambda self: None}, "warm_up takes ()"),
]


@pytest.mark.parametrize(("protocol", "methods", "words"), WRONG, ids=[w.partition(" ")[0] for _, _, w in WRONG])
def test_other_parameters_than_the_ability_has(protocol: type[Any], methods: dict[str, Any], words: str) -> None:
    with pytest.raises(AssertionError) as error:
        suite.check_plugin_class(plugin(protocol, **methods), protocol)
    assert words in str(error.value)


def test_a_method_of_another_seams_ability_is_the_classs_own() -> None:
    suite.check_plugin_class(plugin(protocols.CosmicMasker, files=lambda self: ()), protocols.CosmicMasker)
    suite.check_plugin_class(plugin(protocols.CosmicMasker, files=lambda self: ()))
