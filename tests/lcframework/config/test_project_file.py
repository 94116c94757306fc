"""The project file: everything that is wrong with it, at once, with file, line and the nearest key."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from lcframework.config.project_file import ConfigError, line_numbers, load
from lcframework.config.structuring import Problem, allowed, nearest_or_allowed, structure
from lcframework.types import LcfError

MINIMAL = """\
[roi.J0248]
ra = 42.2
dec = 19.2
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "project.toml"
    path.write_text(text)
    return path


def complaints(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(write(folder, text))
    return str(error.value).split("\n")


def test_defaults(tmp_path):
    config = load(write(tmp_path, MINIMAL))
    assert config.stars.magnitude == (16.0, 20.0)
    assert config.psf.stars == 10
    assert config.roi["J0248"].exclusion_radius == 3.5
    assert config.photometry.psf_chi2.sigma_clip == 4.0
    assert config.telescope is None
    assert config.workdir == tmp_path.resolve()


def test_everything_wrong_at_once(tmp_path):
    text = """\
[project]
nme = "x"
[stars]
radius = "wide"
magnitude = [20.0, 16.0]
strategy = "disk"
[psf]
stars = 0
[telescope]
latitude = 95.0
[roi.J0248]
ra = 42.2
exclusion = 3
[photometry]
psf_chi2 = { sigma_clip = 3.0, between = [0.0, 2.0] }
[stamp]
star_size = 24
[run]
device = "tpu"
workers = true
"""
    rows = complaints(tmp_path, text)
    path = tmp_path / "project.toml"

    def row(*words: str) -> str:
        mine = [r for r in rows if all(w in r for w in words)]
        assert len(mine) == 1, (words, rows)
        return mine[0]

    assert row("[project]", '"nme"').startswith(f"{path}, line 2: ")
    assert 'did you mean "name"?' in row('"nme"')
    assert "expected a number" in row('radius = "wide"')
    assert "line 4" in row('radius = "wide"')
    assert "line 15" in row("sigma_clip", "between", "exclude each other")
    assert 'did you mean "stamps"?' in row("[stamp]")
    assert 'needs the option "dec"' in row("roi.J0248", '"dec"')
    assert 'did you mean "exclusion_radius"?' in row('"exclusion"')
    assert 'needs the option "longitude"' in row('"longitude"')
    assert "true is not a whole number" in row("workers")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[stars]\nmagnitude = [20.0, 16.0]", ("magnitude", "the first value must be below the second")),
        ("[stars]\nmagnitude = [16.0]", ("2 values are needed", "[a number, a number]")),
        ("[stars]\nmagnitude = 16.0", ("2 values are needed",)),
        ('[stars]\nstrategy = "disk"', ("'roi_disk', 'common_footprint', 'per_frame'",)),
        ("[psf]\nstars = 0", ("at least 1",)),
        ("[psf]\nstars = []", ("name at least one star",)),
        ("[psf]\nstars = 2.5", ("a whole number or a list of values",)),
        ("[psf]\nstars = [1, 2]", ("stars",)),
        ('[run]\ndevice = "tpu"', ("'auto', 'cpu', 'gpu'",)),
        ("[stamps]\nstar_size = 4", ("between 8 and 512",)),
        ("[photometry]\npsf_chi2 = { sigma_clip = -1.0 }", ("sigma_clip must be positive",)),
        ("[photometry]\naperture = 0.5", ("at least 1 pixel", "0 for PSF fluxes")),
        ("[photometry]\npsf_chi2 = { sigmaclip = 1.0 }", ('did you mean "sigma_clip"?',)),
        ("[plate_solving]\nmin_success_fraction = 1.5", ("between 0 and 1",)),
        ("psf = 3", ("psf must be a table",)),
        ("[telescope]\nlatitude = 100.0\nlongitude = 0.0", ("latitude must lie between -90 and 90", "got 100.0")),
        ("[roi.J0248.point_sources]\n1a = [1.0, 2.0]", ("'1a'", "letters, digits and _")),
        ("[roi.J0248.point_sources]\nA = [1.0, 2.0, 3.0]", ("point_sources",)),
        ("[roi.J0248.point_sources]\nA_d = [1.0, 2.0]\nA = [1.0, 2.0]", ("two of the names", "column A_d_", "rename")),
        ('[roi."J0248/x"]\nra = 1.0\ndec = 2.0', ("'J0248/x'", "file names")),
        ("[instrument]\ncam = 3", ("instrument.cam",)),
        ("[instrument.cam]\npsf = 3", ("psf must be a table",)),
        ("[instrument.cam.project]\nname = 'x'", ("project can't be set for one instrument",)),
        ("[instrument.cam.psff]\nstars = 3", ('did you mean "psf"?',)),
        ("[instrument.cam.psf]\nstar = 3", ('did you mean "stars"?', "instrument cam")),
        ('[instrument."cam.2".psf]\nstar = 3', ('did you mean "stars"?', "(for instrument cam.2)")),
    ],
)
def test_one_thing_wrong(tmp_path, text, words):
    top = text if "=" in text.split("\n")[0] else ""
    (row, *more) = complaints(tmp_path, f"{top}\n{MINIMAL}\n{'' if top else text}")
    assert not more
    for word in words:
        assert word in row
    assert ", line " in row


def test_instrument_that_is_no_table(tmp_path):
    assert "instrument" in complaints(tmp_path, "instrument = 3\n" + MINIMAL)[0]


def test_no_region(tmp_path):
    assert "[roi.NAME]" in complaints(tmp_path, "[project]\nname = 'x'")[0]
    assert "[roi.NAME]" in complaints(tmp_path, "[roi]\nra = 3.0")[0]


def test_instrument_overrides(tmp_path):
    config = load(write(tmp_path, MINIMAL + "[psf]\nstars = 8\n[instrument.cam.psf]\nexclude = ['b']\n"))
    assert config.psf.exclude == []
    special = config.for_instrument("cam")
    assert (special.psf.stars, special.psf.exclude) == (8, ["b"])
    assert config.for_instrument("other") is config


def test_environment_variables_and_home(tmp_path, monkeypatch):
    monkeypatch.setenv("LCF_TEST_SCRATCH", str(tmp_path / "scratch"))
    config = load(write(tmp_path, '[project]\nworkdir = "$LCF_TEST_SCRATCH/work"\n' + MINIMAL))
    assert config.workdir == (tmp_path / "scratch" / "work").resolve()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = load(write(tmp_path, '[project]\nworkdir = "~/work"\n' + MINIMAL))
    assert config.workdir == (tmp_path / "home" / "work").resolve()


def test_plugin_stages_have_sections(tmp_path):
    path = write(tmp_path, MINIMAL + "[my_stage]\nsize = 3\n")
    with pytest.raises(ConfigError, match="my_stage"):
        load(path)
    assert load(path, ("my_stage",)).stage_tables == {"my_stage": {"size": 3}}


def test_plugin_tables_are_kept_apart(tmp_path):
    config = load(write(tmp_path, MINIMAL + '[psf]\nplugin = "mine"\n[psf.mine]\nsize = 3\n[psf.starred]\nx = 1\n'))
    assert config.tables["psf"] == {"mine": {"size": 3}, "starred": {"x": 1}}


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"[roi\n", "not valid TOML"), (b"\xff\xfe", "UTF-8"), (b"a = 1\na = 2", "not valid TOML")],
)
def test_file_that_is_no_project(tmp_path, content, words):
    path = tmp_path / "project.toml"
    path.write_bytes(content)
    with pytest.raises(LcfError, match=words):
        load(path)


def test_project_file_that_is_a_folder(tmp_path):
    with pytest.raises(LcfError, match="can't be read"):
        load(tmp_path)


def test_line_numbers():
    text = "a = 1\n\n[t]\nb = 2\n[t . 'u v']\n\"c d\" = 3\ne.f = 4\n[[x]]\ny = 1\n"
    lines = line_numbers(text)
    assert lines["a"] == 1
    assert lines["t"] == 3
    assert lines["t.b"] == 4
    assert lines["t.u v.c d"] == 6
    assert lines["t.u v.e.f"] == 7
    assert lines["x.y"] == 9


# ---------------------------------------------------------------- structuring


@attrs.frozen
class Inner:
    low: float
    high: float = 1.0


@attrs.frozen
class Options:
    number: float
    count: int = 3
    flag: bool = False
    text: str = ""
    path: Path | None = None
    pair: tuple[float, float] = (0.0, 1.0)
    many: tuple[str, ...] = ()
    names: list[str] = attrs.field(factory=list)
    map: dict[str, float] = attrs.field(factory=dict)
    either: bool | float = False
    inner: Inner | None = None


def make(table, base=Path("/base")):
    problems: list[Problem] = []
    return structure(Options, table, "section.name", base, problems), [p.message for p in problems]


def test_values_of_every_kind():
    made, problems = make({
        "number": 3, "count": 4, "flag": True, "text": "t", "path": "sub/file", "pair": [1, 2], "names": ["a"],
        "many": ["x", "y"], "map": {"k": 1}, "either": 0.5, "inner": {"low": 0},
    })  # fmt: skip
    assert problems == []
    assert made == Options(
        3.0, 4, True, "t", Path("/base/sub/file"), (1.0, 2.0), ("x", "y"), ["a"], {"k": 1.0}, 0.5, Inner(0.0)
    )
    assert isinstance(made.number, float)
    assert make({"number": 1.0, "path": ""})[0].path is None
    assert make({"number": 1.0, "path": "/there"})[0].path == Path("/there")
    assert make({"number": 1.0, "either": True})[0].either is True


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("number", "3", '"3" is not a number'),
        ("number", True, "true is not a number"),
        ("count", 3.0, "3.0 is not a whole number"),
        ("flag", 1, "1 is not true or false"),
        ("text", 1, "1 is not a text"),
        ("path", 1, "1 is not a text"),
        ("pair", [1], "2 values are needed"),
        ("names", ["a", 1], "1 is not a text"),
        ("map", {"k": "v"}, '"v" is not a number'),
        ("inner", {"high": 2.0}, 'needs the option "low"'),
        ("inner", 3, "a table is needed"),
    ],
)
def test_nothing_is_coerced(key, value, words):
    made, problems = make({"number": 1.0} | {key: value})
    assert made is None
    (problem,) = problems
    assert words in problem
    assert f"[section.name] {key} = " in problem


def test_all_problems_of_a_table():
    made, problems = make({"conut": 1, "flag": "yes"})
    assert made is None
    assert len(problems) == 3
    assert any('did you mean "count"?' in p for p in problems)
    assert any('needs the option "number"' in p for p in problems)


def test_words():
    assert nearest_or_allowed("magnitud", ["magnitude", "radius"]) == '; did you mean "magnitude"?'
    assert nearest_or_allowed("xyz", ["magnitude", "radius"]) == "; allowed: magnitude, radius"
    assert allowed(tuple[float, float]) == "[a number, a number]"
    assert allowed(Path | None) == 'a path or ""'
    assert allowed(dict[str, float]) == "a table whose values are each a number"
