"""Plugins that are right, and every way to be silently wrong."""

from __future__ import annotations

import logging
import types
from typing import Any, ClassVar

import attrs
import pytest

from lcframework import hookspecs
from lcframework.hookspecs import hookimpl
from lcframework.options import nearest
from lcframework.plugins import SEAMS, Plugins, class_problem
from lcframework.types import PluginError, RunEvent


@attrs.frozen
class Survey:
    """A survey."""

    results_version: ClassVar[int] = 3
    radius: float = 1.0

    def magnitudes(self, stars: Any, band: str) -> Any: ...


def module(name: str = "fake", **functions: Any) -> types.ModuleType:
    made = types.ModuleType(name)
    vars(made).update(functions)
    return made


def offering(hook: str, answer: Any) -> types.ModuleType:
    def function():
        return answer

    function.__name__ = hook
    return module(**{hook: hookimpl(function)})


def loaded(*modules: Any, names: tuple[str, ...] = ()) -> Plugins:
    """Load modules as plugins called one, two, ...; an exception stands for a module that raises it."""

    def loader(content: Any) -> Any:
        def load() -> Any:
            if isinstance(content, BaseException):
                raise content
            return content

        return load

    called = names or ("one", "two", "three")
    return Plugins([(called[i], f"pkg-{called[i]} 1.{i}", loader(m)) for i, m in enumerate(modules)])


def problem_of(content: Any) -> str:
    (plugin,) = loaded(content).plugins
    assert not plugin.healthy
    return "; ".join(plugin.problems)


def test_good_plugin():
    plugins = loaded(offering("lcf_calibration_surveys", {"mine": Survey}))
    (plugin,) = plugins.plugins
    assert plugin.healthy
    assert plugin.hooks == ["lcf_calibration_surveys"]
    offer = plugins.get("lcf_calibration_surveys", "mine")
    assert offer.cls is Survey
    assert offer.results_version == 3
    assert offer.origin == "pkg-one 1.0"
    assert plugins.names("lcf_calibration_surveys") == ["mine"]


def test_misspelled_hook():
    text = problem_of(module(lcf_calibration_survey=hookimpl(lambda: {})))
    assert "lcf_calibration_survey is not a hook" in text
    assert 'did you mean "lcf_calibration_surveys"?' in text


def test_misspelled_hook_without_the_marker():
    def lcf_psf_modles():
        return {}

    assert 'did you mean "lcf_psf_models"?' in problem_of(module(lcf_psf_modles=lcf_psf_modles))


def test_forgotten_marker():
    def lcf_calibration_surveys():
        return {"mine": Survey}

    plugins = loaded(module(lcf_calibration_surveys=lcf_calibration_surveys))
    assert "has no @hookimpl" in plugins.plugins[0].problems[0]
    assert plugins.names("lcf_calibration_surveys") == []


def test_parameter_with_a_default():
    @hookimpl
    def lcf_event(event=None):
        raise AssertionError

    assert "the parameter 'event' has a default and would never get its value" in problem_of(
        module(lcf_event=lcf_event)
    )


def test_parameter_that_the_hook_does_not_give():
    @hookimpl
    def lcf_event(evnt):
        raise AssertionError

    assert "lcf_event takes 'evnt'; the hook gives ['event']" in problem_of(module(lcf_event=lcf_event))


@pytest.mark.parametrize("error", [RuntimeError("no\nlibrary"), ImportError("nope"), SyntaxError("bad")])
def test_import_error_harms_nobody(error):
    plugins = loaded(error, offering("lcf_calibration_surveys", {"mine": Survey}))
    assert plugins.plugins[0].problems[0].startswith(f"does not load: {type(error).__name__}")
    assert "\n" not in plugins.plugins[0].problems[0]
    assert plugins.get("lcf_calibration_surveys", "mine").cls is Survey


def test_asking_for_what_a_broken_plugin_offers():
    plugins = loaded(RuntimeError("no library"), names=("survey-mine",))
    with pytest.raises(
        PluginError, match=r"survey-mine \(pkg-survey-mine 1\.0\) is installed but broken: .*no library"
    ):
        plugins.get("lcf_calibration_surveys", "mine", "[calibration] plugin")


def test_hook_that_raises():
    @hookimpl
    def lcf_exporters():
        raise KeyError("x")

    assert "lcf_exporters raised KeyError" in problem_of(module(lcf_exporters=lcf_exporters))


@pytest.mark.parametrize("answer", [None, [Survey], Survey])
def test_answer_that_is_no_mapping(answer):
    assert "a mapping from names to classes is needed" in problem_of(offering("lcf_calibration_surveys", answer))


def test_of_two_plugins_with_one_name_the_project_says_whose():
    one = offering("lcf_calibration_surveys", {"mine": Survey})
    two = offering("lcf_calibration_surveys", {"mine": Survey, "other": Survey})
    plugins = loaded(one, two)
    assert all(p.healthy for p in plugins.plugins)
    with pytest.raises(PluginError, match=r'one of pkg-one 1.0 and two of pkg-two 1.1. Say whose: "pkg-one:mine"'):
        plugins.get("lcf_calibration_surveys", "mine")
    assert plugins.get("lcf_calibration_surveys", "pkg-two:mine").plugin == "two"
    assert plugins.get("lcf_calibration_surveys", "PKG_One:mine").plugin == "one"
    assert plugins.names("lcf_calibration_surveys") == ["other", "pkg-one:mine", "pkg-two:mine"]


def test_a_plain_name_remains_the_built_in_plugins():
    ours, theirs = (offering("lcf_calibration_surveys", {"gaia": Survey}) for _ in range(2))
    plugins = Plugins([("survey-gaia", "lcframework 0.1", lambda: ours), ("a", "lcf-other 2", lambda: theirs)])
    assert plugins.get("lcf_calibration_surveys", "gaia").origin == "lcframework 0.1"
    assert plugins.get("lcf_calibration_surveys", "lcf-other:gaia").origin == "lcf-other 2"


def test_one_name_on_two_hooks_is_no_conflict():
    both = module(
        lcf_calibration_surveys=hookimpl(lambda: {"file": Survey}), lcf_exporters=hookimpl(lambda: {"file": Exporter})
    )
    assert loaded(both).plugins[0].healthy


@attrs.frozen
class Exporter:
    def export(self, light_curve: Any, path: Any) -> None: ...


class NotAttrs:
    def magnitudes(self, stars, band): ...


@attrs.frozen
class WithoutMethod:
    pass


@attrs.frozen
class OtherParameters:
    def magnitudes(self, stars): ...


@attrs.frozen
class OtherOrder:
    def magnitudes(self, band, stars): ...


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (NotAttrs, "not an attrs class; put @attrs.frozen before it"),
        (WithoutMethod, "has no method magnitudes(self, stars"),
        (OtherParameters, "takes (stars); it is called with (stars, band)"),
        (OtherOrder, "takes (band, stars)"),
        (Survey(), "is a Survey, not a class"),
    ],
)
def test_class_that_breaks_the_contract(cls, words):
    seam = next(s for s in SEAMS if s.section == "calibration")
    assert words in class_problem(cls, seam)
    plugins = loaded(offering("lcf_calibration_surveys", {"bad": cls, "good": Survey}))
    assert "'bad'" in plugins.plugins[0].problems[0]
    assert plugins.names("lcf_calibration_surveys") == ["good"]


def test_unknown_name_suggests():
    plugins = loaded(offering("lcf_calibration_surveys", {"skymapper": Survey}))
    with pytest.raises(PluginError) as error:
        plugins.get("lcf_calibration_surveys", "skymaper", "[calibration] plugin")
    text = str(error.value)
    assert text.startswith('[calibration] plugin: no installed plugin offers "skymaper"')
    assert 'did you mean "skymapper"?' in text
    assert "Installed: skymapper." in text
    assert "install that package into this environment" in text


def test_events_reach_everyone_whatever_one_raises(caplog):
    heard = []

    @hookimpl
    def loud(event):
        raise ValueError("loud")

    @hookimpl
    def lcf_event(event):
        heard.append(event.kind)

    plugins = loaded(module(lcf_event=loud), module(lcf_event=lcf_event))
    with caplog.at_level(logging.ERROR):
        plugins.notify(RunEvent("run_started"))
    assert heard == ["run_started"]
    assert "plugin one" in caplog.text


def test_installed_plugins_are_healthy_and_cover_every_seam():
    plugins = Plugins.installed()
    ours = [p for p in plugins.plugins if p.origin.startswith("lcframework ")]
    assert {p.name: p.problems for p in ours if p.problems} == {}
    for seam in SEAMS:
        if seam.section:
            assert plugins.names(seam.hook), seam.hook


def test_every_hook_is_known():
    hooks = {name for name in vars(hookspecs) if name.startswith("lcf_")}
    assert {s.hook for s in SEAMS} | {"lcf_commands", "lcf_event"} == hooks


def test_nearest():
    assert nearest("starrd", ["starred", "joint"]) == '; did you mean "starred"?'
    assert nearest("xyz", ["starred"]) == ""
