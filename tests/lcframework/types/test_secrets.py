"""No password leaves the project file: not by errors, logs, the database, the report, or to workers."""

from __future__ import annotations

import contextlib
import json
import pickle
import sqlite3

import pytest

from lcframework.project import Project
from lcframework.running.run_log import LOG_FILE, logged
from lcframework.types import LcfError, redacted

URL = "postgresql+psycopg://observer:hunt/er@2@127.0.0.1:9/none"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (URL, "postgresql+psycopg://observer:***@127.0.0.1:9/none"),
        ("postgresql://host/name?user=u&password=hunter2&port=3", "postgresql://host/name?user=u&password=***&port=3"),
        ("host=h password='hunter 2' dbname=d", "host=h password='***' dbname=d"),
        ('{"api_key": "hunter2", "url": "https://x"}', '{"api_key": "***", "url": "https://x"}'),
        ('nova_api_key = "hunter2"\nplugin = "fits"', 'nova_api_key = "***"\nplugin = "fits"'),
        ("sqlite:////data/a.db and https://host:80/x", "sqlite:////data/a.db and https://host:80/x"),
        ("a password is needed: see the manual", "a password is needed: see the manual"),
    ],
)
def test_what_is_hidden(text, clean):
    assert redacted(text) == clean
    assert str(LcfError(text)) == clean


@pytest.fixture
def project(tmp_path):
    (tmp_path / "raw").mkdir()
    path = tmp_path / "project.toml"
    path.write_text(f'# "{URL}"\n[roi.X]\nra = 1.0\ndec = 2.0\n[run]\nworkers = 1\n')
    return path


def test_runs_and_those_of_earlier_versions(project):
    Project.open(project).run(stop="initialize_database")
    database = project.parent / "database.sqlite3"
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("update runs set settings = ?", [project.read_text()])
    Project.open(project).run(stop="initialize_database")
    assert b"hunt/er" not in database.read_bytes()
    with contextlib.closing(sqlite3.connect(database)) as connection:
        assert {s for (s,) in connection.execute("select settings from runs")} == {redacted(project.read_text())}


def test_errors_of_the_database(project, lcf):
    pytest.importorskip("psycopg")
    for url in (URL, URL.replace("psycopg", "nodriver"), URL.replace("postgresql+psycopg", "nothing at all")):
        project.write_text(f'[project]\ndatabase = "{url}"\n[roi.X]\nra = 1.0\ndec = 2.0\n')
        ended = lcf("run", project, "--json")
        assert ended.code == 1
        assert "hunt/er" not in ended.out + ended.err
        assert "observer" in ended.err


def test_log(project):
    opened = Project.open(project)
    with logged(opened.workdir):
        import logging

        logging.getLogger("lcframework.x").warning("no answer from %s", URL)
    assert "observer:***@" in (project.parent / LOG_FILE).read_text()


def test_workers_get_no_password(project):
    project.write_text(f'[project]\ndatabase = "{URL}"\n[roi.X]\nra = 1.0\ndec = 2.0\n')
    config = Project.open(project).config
    sent = pickle.dumps(config)
    assert b"hunt/er" not in sent
    there = pickle.loads(sent)
    assert there.project.database == there.raw["project"]["database"] == redacted(URL)
    assert (there.roi, there.lines) == (config.roi, config.lines)
    assert config.project.database == URL


def test_report_of_a_project_with_a_password(project):
    from lcframework.report.builtin_panels.making import HowItWasMade

    opened = Project.open(project)
    results = type("Results", (), {"runs": [], "ledger": type("L", (), {"of_stage": lambda self, n: {}})()})()
    page = str(HowItWasMade(results).render(opened))
    assert "observer:***@" in page
    assert "hunt/er" not in page


def test_json_in_the_report_holds_no_tag():
    from lcframework.report import html

    figure = {"data": [{"name": "<!--<script>"}], "layout": {}}
    page = str(html.chart(figure, "a <b>"))
    inside = page.split('class="figure">')[1].split("</script>")[0]
    assert "<" not in inside
    assert json.loads(inside) == figure
