"""Project files, folders and plugins that are wrong: what is said, and that nothing else breaks."""

from __future__ import annotations

import os
import shutil
import sqlite3

import pytest
from astropy.table import Table

SURVEY = '''
import attrs
from lcframework.hookspecs import hookimpl

@attrs.frozen
class Survey:
    """A survey of nothing."""
    def magnitudes(self, stars, band):
        raise NotImplementedError

@hookimpl
def lcf_calibration_surveys():
    return {"NAME": Survey}
'''


# ---------------------------------------------------------------- project files


def test_typo_names_file_line_and_nearest_key(fresh):
    fresh.edit("[stars]", "[stars]\nradus = 100.0")
    fresh.append("[psff]\nstars = 3\n[photometry.starred]\nbackground_per_epoc = true")
    ended = fresh.run()
    assert ended.code == 1
    lines = fresh.project.read_text().splitlines()
    assert f'{fresh.project}, line {lines.index("radus = 100.0") + 1}: [stars] has no option "radus"' in ended.err
    assert 'did you mean "radius"?' in ended.err
    assert "[psff] is not a section" in ended.err
    assert 'did you mean "psf"?' in ended.err
    assert "Traceback" not in ended.err
    assert not (fresh.folder / "database.sqlite3").exists()


def test_option_of_a_plugin_with_a_typo(fresh):
    fresh.append("[photometry.starred]\nbackground_per_epoc = true")
    ended = fresh.run()
    assert ended.code == 1
    assert 'did you mean "background_per_epoch"?' in ended.err
    assert ", line " in ended.err


def test_broken_toml(fresh):
    fresh.append("[psf\nstars = ")
    ended = fresh.run()
    assert ended.code == 1
    assert "is not valid TOML" in ended.err
    assert "line" in ended.err


def test_no_such_project_file(lcf, tmp_path):
    ended = lcf("run", tmp_path / "nothing.toml")
    assert ended.code == 1
    assert "lcf init" in ended.err


def test_raw_folder_that_is_not_there(fresh):
    fresh.edit('raw_dirs = ["raw"]', 'raw_dirs = ["rwa"]')
    ended = fresh.run()
    assert ended.code == 1
    assert '[frames] raw_dirs: "rwa" is not a folder' in ended.err


def test_no_frame_at_all(fresh):
    fresh.edit('raw_dirs = ["raw"]', 'raw_dirs = ["raw"]\npattern = "*.fit"')
    ended = fresh.run()
    assert ended.code == 1
    assert "*.fit" in ended.err
    assert str(fresh.folder / "raw") in ended.err


# ---------------------------------------------------------------- workdirs


def test_file_in_the_place_of_the_workdir(fresh):
    (fresh.folder / "products").write_text("in the way")
    fresh.edit('workdir = "."', 'workdir = "products"')
    ended = fresh.run()
    assert ended.code == 1
    assert f"the workdir {fresh.folder / 'products'} can't be written" in ended.err
    assert "[project] workdir" in ended.err
    assert fresh.lcf("status", fresh.project).code == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not hold root back")
def test_read_only_workdir(fresh):
    (fresh.folder / "products").mkdir(mode=0o500)
    fresh.edit('workdir = "."', 'workdir = "products"')
    ended = fresh.run()
    assert ended.code == 1
    assert "can't be written" in ended.err


def test_file_in_the_place_of_a_product_folder(fresh):
    (fresh.folder / "frames").write_text("in the way")
    ended = fresh.run()
    assert ended.code == 1
    assert "frames" in ended.err
    (fresh.folder / "frames").unlink()
    assert fresh.done("--stop", "plate_solving")["plate_solving"] == 5  # with the catalogue's query


def test_database_that_is_none(fresh):
    (fresh.folder / "database.sqlite3").write_text("this is not a database, but a text of some length. " * 50)
    ended = fresh.run()
    assert ended.code == 1
    assert "database" in ended.err
    assert "Traceback" not in ended.err


def test_database_of_another_schema(campaign):
    connection = sqlite3.connect(campaign.folder / "database.sqlite3")
    connection.execute("alter table frames drop column ellipticity")
    connection.commit()
    connection.close()
    ended = campaign.run()
    assert ended.code == 1
    assert "ellipticity" in ended.err
    assert "Traceback" not in ended.err


def test_database_server_that_is_not_there(fresh):
    pytest.importorskip("psycopg")
    fresh.edit('workdir = "."', 'workdir = "."\ndatabase = "postgresql+psycopg://nobody@127.0.0.1:9/none"')
    ended = fresh.run()
    assert ended.code == 1
    assert "can't be opened" in ended.err
    assert "Traceback" not in ended.err


def test_database_url_that_is_none(fresh):
    fresh.edit('workdir = "."', 'workdir = "."\ndatabase = "my server"')
    ended = fresh.run()
    assert ended.code == 1
    assert '"my server" is not a database URL' in ended.err


# ---------------------------------------------------------------- the sky


def test_catalogue_with_no_star_in_range(campaign):
    campaign.edit("magnitude = [16.0, 20.0]", "magnitude = [3.0, 4.0]")
    ended = campaign.run()
    assert ended.code == 3
    assert "has 0 stars that fulfil [stars]" in ended.err
    assert "magnitude = [3.0, 4.0]" in ended.err
    assert "has 0 stars" in campaign.lcf("status", campaign.project).out
    campaign.edit("magnitude = [3.0, 4.0]", "magnitude = [16.0, 20.0]")
    assert campaign.run().code == 0
    assert len(campaign.curve()) == 4


def test_catalogue_that_is_not_there(fresh):
    (fresh.folder / "stars.ecsv").unlink()
    ended = fresh.run()
    assert ended.code == 1
    assert "stars.ecsv" in ended.err
    assert "Traceback" not in ended.err
    assert fresh.status()["stages"][1]["made"] == 4


def test_catalogue_without_the_columns(fresh):
    table = Table.read(fresh.folder / "stars.ecsv")
    table.rename_column("ra", "alpha")
    table.write(fresh.folder / "stars.ecsv", overwrite=True)
    ended = fresh.run()
    assert ended.code == 1
    assert "ra" in ended.err
    assert "alpha" in ended.err


@pytest.mark.slow
def test_point_source_outside_the_stamp(campaign):
    text = campaign.project.read_text()
    line = next(row for row in text.splitlines() if row.startswith("B = "))
    campaign.edit(line, "B = [150.1137, -28.3]")
    ended = campaign.run()
    assert ended.code == 3, ended.out + ended.err
    assert "B" in ended.err
    assert "stamp" in ended.err
    assert "model_calibrated_cutouts" in campaign.lcf("status", campaign.project).out
    campaign.edit("B = [150.1137, -28.3]", line)
    assert campaign.run().code == 0


def test_region_that_no_frame_contains(campaign):
    campaign.edit("ra = 150.1137000", "ra = 151.1137000")
    ended = campaign.run()
    assert ended.code == 3
    assert "no frame contains a region of interest (QUAD)" in ended.err
    assert {state for state, _ in campaign.frames().values()} == {"set aside"}


def test_limits_that_no_frame_fulfils(campaign):
    campaign.append("[roi_cutouts]\nframes = { seeing_arcseconds = [0.0, 0.01] }")
    ended = campaign.run()
    assert ended.code == 3
    assert "seeing_arcseconds" in ended.err
    campaign.edit("seeing_arcseconds", "seeing_arcsecond")
    ended = campaign.run()
    assert ended.code == 1
    assert "called seeing_arcsecond;" in ended.err


def test_star_letter_that_no_star_has(campaign):
    campaign.append('[psf]\nexclude = ["zz"]')
    ended = campaign.run()
    assert ended.code == 1
    assert "[psf] names zz; the reference stars are a, b, c" in ended.err


# ---------------------------------------------------------------- plugins


def test_plugin_that_raises_on_import_harms_nobody(campaign, install):
    install("lcf-broken", "raise RuntimeError('no such library')", {"brokensurvey": "lcf_broken"})
    assert campaign.run().code == 0
    ended = campaign.lcf("plugins")
    assert ended.code == 1
    assert "BROKEN: does not load: RuntimeError: no such library" in ended.out
    campaign.append("")
    campaign.edit('[calibration]\nplugin = "file"', '[calibration]\nplugin = "brokensurvey"')
    ended = campaign.run()
    assert ended.code == 1
    assert "lcf-broken 1.5" in ended.err
    assert "no such library" in ended.err
    assert "Traceback" not in ended.err


def test_two_plugins_with_one_name(campaign, install):
    code = SURVEY.replace("NAME", "twin")
    install("lcf-twin-one", code, {"twinone": "lcf_twin_one"})
    install("lcf-twin-two", code, {"twintwo": "lcf_twin_two"})
    assert campaign.run().code == 0  # nobody asks for them
    campaign.edit('[calibration]\nplugin = "file"', '[calibration]\nplugin = "twin"')
    ended = campaign.run()
    assert ended.code == 1
    assert "lcf-twin-one 1.5" in ended.err
    assert "lcf-twin-two 1.5" in ended.err
    assert 'Say whose: "lcf-twin-one:twin" or "lcf-twin-two:twin"' in ended.err


def test_plugin_with_a_bug_leaves_a_traceback_in_the_log(campaign, install):
    install("lcf-buggy", SURVEY.replace("NAME", "buggy"), {"buggy": "lcf_buggy"})
    campaign.edit('[calibration]\nplugin = "file"', '[calibration]\nplugin = "buggy"')
    ended = campaign.run()
    assert ended.code == 1
    assert "Failed, a bug:" in ended.err
    assert "NotImplementedError" in ended.err
    assert "Traceback" not in ended.err
    assert "Traceback" in (campaign.folder / "lcf.log").read_text()
    campaign.edit('plugin = "buggy"', 'plugin = "file"')
    assert campaign.run().code == 0


def test_survey_plugin_that_was_uninstalled(campaign, install):
    folder = install("lcf-here", SURVEY.replace("NAME", "here"), {"here": "lcf_here"})
    campaign.edit('[calibration]\nplugin = "file"', '[calibration]\nplugin = "here"')
    assert campaign.lcf("status", campaign.project).code == 0
    shutil.rmtree(folder)
    ended = campaign.run()
    assert ended.code == 1
    assert '[calibration] plugin: no installed plugin offers "here"' in ended.err
    assert "install that package" in ended.err
