"""Nothing that is installed is unavoidable: what is switched off, what is required, and whose a name is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from lcframework.hookspecs import hookimpl
from lcframework.plugins import Plugins, unmet
from lcframework.plugins.finding import contact
from lcframework.types import PluginError


@attrs.frozen
class Survey:
    def magnitudes(self, stars: Any, band: str) -> Any: ...


def offering() -> SimpleNamespace:
    return SimpleNamespace(lcf_calibration_surveys=hookimpl(lambda: {"mine": Survey}))


MODULE = offering()
FOUND = [("survey-a", "lcf-a 1.2", offering), ("survey-b", "LCF_B 2", offering)]


@pytest.mark.parametrize("word", ["survey-a", "lcf-a", "LCF_a"])
def test_what_is_switched_off_is_not_loaded(word: str) -> None:
    plugins = Plugins([("survey-a", "lcf-a 1.2", lambda: 1 / 0), FOUND[1]], [word])
    assert [(p.name, p.disabled, p.problems) for p in plugins.plugins] == [
        ("survey-a", "[plugins] disable", []), ("survey-b", "", []),
    ]  # fmt: skip
    assert plugins.get("lcf_calibration_surveys", "mine").origin == "LCF_B 2"


def test_the_environment_switches_off(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = ("survey-own", "lcframework 0.1", lambda: MODULE)
    monkeypatch.setenv("LCF_DISABLE_PLUGINS", "other, lcf-b")
    assert [p.package for p in Plugins(FOUND).plugins if not p.disabled] == ["lcf-a"]
    monkeypatch.setenv("LCF_DISABLE_PLUGINS", "all")
    assert [p.package for p in Plugins([*FOUND, ours]).plugins if not p.disabled] == ["lcframework"]


def test_asking_for_what_is_switched_off_says_by_whom() -> None:
    plugins = Plugins([("survey-mine", "lcf-a 1", lambda: MODULE)]).without(["lcf-a"])
    with pytest.raises(PluginError, match=r"survey-mine \(lcf-a 1\) is switched off by \[plugins\] disable"):
        plugins.get("lcf_calibration_surveys", "mine")


def test_a_module_can_join() -> None:
    plugins = Plugins(FOUND[:1]).joined([("local", "plugins/own.py", offering)])
    assert plugins.plugins[-1].healthy
    assert plugins.get("lcf_calibration_surveys", "local:mine").plugin == "local"
    assert plugins.get("lcf_calibration_surveys", "lcf-a:mine").plugin == "survey-a"


def test_requirements() -> None:
    assert unmet(["lcframework>=0.0.1", "numpy"]) == []
    wrong, absent = unmet(["numpy<1", "lcf-no-such-package>=1.2"])
    assert wrong.startswith("[plugins] requires numpy<1; installed is ")
    assert absent == (
        "[plugins] requires lcf-no-such-package>=1.2, which is not installed: pip install 'lcf-no-such-package>=1.2'"
    )


def test_whom_to_tell() -> None:
    assert "github.com/pytest-dev/pytest/issues" in contact("pytest 8")
    assert contact("no-such-package 1") == "the authors of no-such-package 1"
