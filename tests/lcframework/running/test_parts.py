"""The chain of stages, and runs of a part of it or of the project."""

from __future__ import annotations

import pytest

from lcframework.config.project_file import ConfigError
from lcframework.project import Project
from lcframework.running.chain import between
from lcframework.work.scopes import UnknownName


def test_stages_of_plugins_follow_the_stages_they_name(toys):
    project = Project.open(toys.path)
    assert project.stage_names[:4] == [
        "initialize_database", "toy", "toy_sum", "read_convert_skysub_character_catalog",
    ]  # fmt: skip
    assert len(project.stage_names) == 14
    assert [s.name for s in between(project.stages, "toy", "toy_sum")] == ["toy", "toy_sum"]


SEVERAL = """
from lcframework.hookspecs import hookimpl
from lcframework.work import Stage

def stage(called, behind, *needed):
    class Made(Stage):
        name, title, after, needs = called, called, behind, needed

        def units(self, session, ledger):
            return []

        def tasks(self):
            return {}

    return Made

@hookimpl
def lcf_stages():
    made = [stage("p", "psf_modeling"), stage("q", "psf_modeling"), stage("r", "psf_modeling", "q"), stage("s", "p")]
    return {cls.name: cls for cls in made}
"""


@pytest.mark.parametrize(
    ("named", "order"),
    [("pq", "pq"), ("qp", "qp"), ("psq", "psq"), ("spq", "psq"), ("qsp", "qps"), ("prq", "pqr"), ("rpqs", "psqr")],
)
def test_stages_after_the_same_one_run_in_the_order_of_the_project_file(install, tmp_path, named, order):
    install("lcf-several", SEVERAL, {"several": "lcf_several"})
    (tmp_path / "raw").mkdir()
    path = tmp_path / "project.toml"
    path.write_text(f"[roi.X]\nra = 1.0\ndec = 2.0\n[run]\nstages = {list(named)}\n")
    names = Project.open(path).stage_names
    at = names.index("psf_modeling") + 1
    assert "".join(names[at : at + len(order)]) == order
    assert len(names) == 12 + len(order)


def test_stage_after_one_that_is_not_there(lost_toys):
    with pytest.raises(ConfigError) as error:
        Project.open(lost_toys.path)
    assert 'lost (lcf-lost 1.5) is installed but broken: it comes after "initialise_database"' in str(error.value)
    assert 'broken: it comes after "toy", which has no place in the chain' in str(error.value)
    lost_toys.path.write_text("[roi.X]\nra = 1.0\ndec = 2.0\n")
    assert len(Project.open(lost_toys.path).stage_names) == 12  # a project that does not name it goes on


def test_options_of_a_plugin_stage_are_checked(toys):
    toys.write('size = "three"\nfactr = 2.0')
    with pytest.raises(ConfigError) as error:
        Project.open(toys.path)
    assert 'did you mean "factor"?' in str(error.value)
    assert "expected a whole number" in str(error.value)


def test_run_of_a_part_tells_of_its_own_unusable_inputs_alone(toys):
    toys.plan(u1="unusable")
    assert toys.run().exit_code == 3
    report = toys.run(rois="X")
    assert report.unusable == []
    assert report.exit_code == 0
    report = toys.run(rois="Y")
    assert [u.unit for u in report.unusable] == ["u1"]
    assert report.exit_code == 3


def test_names_are_checked_where_the_run_imports_nothing(toys):
    """Files that wait may bring the band; a run that does not import them can't."""
    project = Project.open(toys.path)
    told = r'the project has no band "typo"; .* \(a run that imports the files that wait may bring it\)'
    with pytest.raises(UnknownName, match=told):
        project.run(start="toy", stop="toy_sum", bands="typo")
    with pytest.raises(UnknownName, match=told):
        project.plan(start="psf_modeling", bands="typo")
    with pytest.raises(UnknownName, match=told):
        project.status(bands="typo")
    assert project.plan(bands="typo")  # what is imported first may have it
