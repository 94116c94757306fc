"""A project's own code runs only after the user allowed it: once a workdir, and again when it changed."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from lcframework.project import Project
from lcframework.trust import ANSWERS, NotTrusted

TOML = "[roi.X]\nra = 1.0\ndec = 2.0\n[run]\nworkers = 1\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("LCF_TRUST")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config").mkdir()
    folder = tmp_path / "project"
    (folder / "raw").mkdir(parents=True)
    (folder / "header_parser").mkdir()
    (folder / "header_parser" / "parse_header.py").write_text("def parse_header(header): return None\n")
    (folder / "project.toml").write_text(TOML)
    return folder / "project.toml"


def local(project, text):
    """Give the project a plugin of its own that notes that it ran."""
    (project.parent / "plugins").mkdir(exist_ok=True)
    (project.parent / "plugins" / "own.py").write_text(
        f"from pathlib import Path\nPath({str(project.parent / 'ran')!r}).touch()\n{text}"
    )
    project.write_text(TOML + "[plugins]\nlocal = true\n")


@pytest.mark.parametrize("more", ["", '[header]\nplugin = "file"\n', '[header]\nplugin = "file"\n[header.file]\npath = '
                                  '"header_parser/parse_header.py"\n'])  # fmt: skip
def test_without_a_terminal_it_refuses_with_the_line_to_paste(project, lcf, more):
    project.write_text(TOML + more)
    for command in ("run", "status", "export"):
        ended = lcf(command, project)
        assert ended.code == 1
        assert f"lcf trust {project}" in ended.err
        assert str(project.parent / "header_parser" / "parse_header.py") in ended.err
        assert "Traceback" not in ended.err
    assert lcf("trust", project).code == 0
    assert lcf("status", project).code == 0
    answer = json.loads((project.parent / ANSWERS).read_text())
    (project.parent / "header_parser" / "parse_header.py").write_text("def parse_header(header): return {}\n")
    ended = lcf("status", project)
    assert ended.code == 1
    assert next(iter(answer))[:12] not in ended.err
    assert lcf("trust", project).code == 0
    assert lcf("status", project).code == 0
    assert lcf("trust", project, "--undo").out == "2 answers are forgotten.\n"
    assert lcf("status", project).code == 1


def test_parser_that_is_not_used_is_not_asked_for(project, lcf):
    project.write_text(TOML + '[header]\nplugin = "fits"\n')
    assert lcf("status", project).code == 0


def test_local_plugin_does_not_run_before_the_answer(project, lcf):
    local(project, "")
    ended = lcf("status", project)
    assert ended.code == 1
    assert "own.py" in ended.err
    assert not (project.parent / "ran").exists()
    assert lcf("trust", project).code == 0  # of both files
    assert lcf("status", project).code == 0
    assert (project.parent / "ran").exists()


def test_answers_of_somebody_else_do_not_count(project, lcf, monkeypatch, tmp_path):
    assert lcf("trust", project).code == 0
    assert lcf("status", project).code == 0
    (tmp_path / "another").mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
    assert lcf("status", project).code == 1
    assert lcf("trust", project).code == 0
    answers = project.parent / ANSWERS
    forged = json.loads(answers.read_text())
    for answer in forged.values():
        answer["seal"] = "0" * 64
    answers.write_text(json.dumps(forged))
    assert lcf("status", project).code == 1
    for text in ("[]", "{", '{"a": 3}'):
        answers.write_text(text)
        assert lcf("status", project).code == 1
    assert (tmp_path / "config" / "lcframework" / "trust.key").stat().st_mode & 0o077 == 0


def test_python_and_the_environment(project, monkeypatch):
    with pytest.raises(NotTrusted, match="trust=True") as refused:
        Project.open(project)
    digest = refused.value.codes[0].digest
    monkeypatch.setenv("LCF_TRUST", f"0123456789abcdef,{digest[:12]}")
    Project.open(project)
    monkeypatch.setenv("LCF_TRUST", digest[:11])
    with pytest.raises(NotTrusted):
        Project.open(project)
    monkeypatch.delenv("LCF_TRUST")
    Project.open(project, trust=True)
    Project.open(project)
    with pytest.raises(NotTrusted):
        Project.open(project, trust=False)


def test_workdir_that_can_not_be_written(project, monkeypatch):
    (project.parent / "products").write_text("in the way")
    project.write_text('[project]\nworkdir = "products"\n' + TOML)
    monkeypatch.setenv("LCF_TRUST", "")
    Project.open(project, trust=True)
    Project.open(project)


def test_folder_of_frames_with_a_parser(project, lcf):
    (project.parent / "raw" / "a.fits").write_bytes(b"")
    ended = lcf("headers", project.parent / "raw")
    assert ended.code == 1
    assert "LCF_TRUST=" in ended.err
    assert lcf("trust", project).code == 0
    assert lcf("headers", project.parent / "raw").code == 3


def test_program_of_the_project(project, lcf):
    tool = project.parent / "solve"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    head = (
        TOML + '[header]\nplugin = "fits"\n[plate_solving]\nplugin = "astrometry-net"\n[plate_solving.astrometry-net]\n'
    )
    project.write_text(head + "sip_order = 2\n")
    assert lcf("status", project).code == 0
    project.write_text(head + f'command = "{tool}"\n')
    ended = lcf("status", project)
    assert ended.code == 1
    assert str(tool) in ended.err


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("", 1)])
def test_on_a_terminal_it_asks_once(project, answer, code):
    leader, follower = pty.openpty()
    code_text = "from lcframework.cli.main import main; main()"
    command = [sys.executable, "-c", code_text, "status", str(project)]
    with subprocess.Popen(command, stdin=follower, stdout=subprocess.PIPE, stderr=follower) as process:
        os.close(follower)
        os.write(leader, f"{answer}\n".encode())
        out = process.stdout.read().decode()
    said = os.read(leader, 10000).decode()
    os.close(leader)
    assert process.returncode == code
    assert "parse_header.py" in said
    assert "Shall it run?" in said
    assert ("0 files" in out) == (code == 0)
    assert (project.parent / ANSWERS).exists() == (code == 0)
