"""Plugins beside the project file: used where it says so, in workers too; what a changed file made is pending."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from lcframework.local_plugins import contents_of
from lcframework.project import Project
from lcframework.types import LcfError

HEADER = '''
import attrs
from lcframework.hookspecs import hookimpl

@attrs.frozen
class Own:
    """A parser of this project."""
    gain: float = 2.0
    def parse(self, header, path):
        return None

@hookimpl
def lcf_header_parsers():
    return {"own": Own}
'''
TOML = "[roi.X]\nra = 1.0\ndec = 2.0\n[header]\nplugin = 'own'\n[header.own]\ngain = 3.0\n"


@pytest.fixture
def project(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "own.py").write_text(HEADER)
    path = tmp_path / "project.toml"
    path.write_text(TOML + "[plugins]\nlocal = true\n")
    return path


def test_only_where_the_project_file_says_so(project, lcf):
    opened = Project.open(project)
    (tool,) = opened.toolbox.all("header")
    assert tool.instance.gain == 3.0
    offer = opened.plugins.get("lcf_header_parsers", "own")
    assert offer.origin == str(project.parent / "plugins" / "own.py")
    assert not (project.parent / "plugins" / "__pycache__").exists()
    project.write_text(TOML)
    ended = lcf("status", project)
    assert ended.code == 1
    assert 'no installed plugin offers "own"' in ended.err
    project.write_text(TOML + '[plugins]\nlocal = ["plugins/own.py"]\n')
    assert lcf("status", project).code == 0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('["plugins/none.py"]', "is not a Python file"),
        ('["raw"]', "is not a Python file"),
        ("3", "[plugins] local = 3"),
    ],
)
def test_what_can_not_be_local(project, value, said):
    project.write_text(TOML + f"[plugins]\nlocal = {value}\n")
    with pytest.raises(LcfError) as refused:
        Project.open(project)
    assert said in str(refused.value)


def test_folder_without_plugins(project):
    (project.parent / "plugins" / "own.py").rename(project.parent / "plugins" / "_own.py")
    with pytest.raises(LcfError, match="there is no plugin file in"):
        Project.open(project)


def test_contents_are_a_part_of_fingerprints(project):
    file = project.parent / "plugins" / "own.py"
    first = Project.open(project).toolbox.identity("header")
    assert Project.open(project).toolbox.identity("header") == first
    file.write_text(HEADER + "# the same, otherwise written\n")
    second = Project.open(project)
    assert second.toolbox.identity("header") != first
    assert contents_of(type(second.toolbox.all("header")[0].instance))
    file.write_text(HEADER)
    assert Project.open(project).toolbox.identity("header") == first


def test_other_processes_find_it_by_its_name(project):
    (tool,) = Project.open(project).toolbox.all("header")
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).gain)"
    sent = pickle.dumps(tool.instance)
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, timeout=60)
    assert done.stdout.strip() == b"3.0", done.stderr
    (project.parent / "plugins" / "own.py").write_text(HEADER + "x = 1")
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, timeout=60)
    assert b"changed since the project was opened" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
        ("def x(:", "SyntaxError"),
        ("import sys; sys.exit(3)", "the file ends the process: sys.exit(3)"),
        (HEADER.replace("lcf_header_parsers", "lcf_header_parser"), "lcf_header_parser is not a hook"),
    ],
)
def test_errors_in_one_are_its_own(project, lcf, text, said):
    (project.parent / "plugins" / "other.py").write_text(text)
    opened = Project.open(project)
    assert opened.toolbox.all("header")[0].name == "own"
    (broken,) = [p for p in opened.plugins.plugins if p.name == "other"]
    assert said in broken.problems[0]
    assert broken.origin == str(project.parent / "plugins" / "other.py")


STAGES = """
workers = 2
[plugins]
local = true
[toy]
size = 6
"""


@pytest.mark.parametrize("executor", ["local", pytest.param("dask", marks=pytest.mark.slow)])
def test_stage_of_the_project_in_workers(project, executor):
    if executor == "dask":
        pytest.importorskip("distributed")
    from pathlib import Path

    toys = Path(__file__).parents[1] / "running" / "toy_stages.py"
    file = project.parent / "plugins" / "own.py"
    file.write_text(toys.read_text())
    project.write_text(
        TOML.split("[header]")[0] + f'[run]\nstages = ["toy", "toy_sum"]\nexecutor = "{executor}"' + STAGES
    )
    done = {s.name: s.done for s in Project.open(project).run(stop="toy_sum").stages}
    assert (done["toy"], done["toy_sum"]) == (6, 1)
    assert (project.parent / "sum").read_text() == "55"
    assert Project.open(project).run(stop="toy_sum").units_done == 0
    file.write_text(toys.read_text().replace("values**2", "values**3"))
    (pending,) = {w for s in Project.open(project).status().stages if s.name == "toy" for u in s.pending for w in u.why}
    assert pending.startswith("stage_file: ")
    assert Project.open(project).run(stop="toy_sum").units_done == 7
    assert (project.parent / "sum").read_text() == "225"
