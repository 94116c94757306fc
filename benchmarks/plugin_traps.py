"""What users see of plugins that are wrong: installs small packages, each with one fault, and runs `lcf` beside them.

    python benchmarks/plugin_traps.py FOLDER            all traps: a table on the screen
    python benchmarks/plugin_traps.py FOLDER --markdown the same for the documentation
    python benchmarks/plugin_traps.py FOLDER stage      those whose title has a word

The first call simulates four frames in FOLDER and runs them, which takes a minute. Each package is a module and its
metadata in a folder on the path, as pip would leave it.
"""

from __future__ import annotations

# ruff: noqa: E501  (a line a trap)
import contextlib
import io
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

PLUGINS, RUN = "lcf plugins", "lcf run"


@attrs.frozen
class Trap:
    """A package with a fault.

    `code` is its module; `entry` its entry point, or its entry points; `project` what is added to the project file;
    `shows` which command tells of the fault; `words` what it says.
    """

    title: str
    code: str
    words: str
    entry: str | tuple[str, ...] = "trap"
    project: str = ""
    shows: str = PLUGINS
    start: str = ""
    stop: str = ""


HEAD = """
import sys
from pathlib import Path
from typing import ClassVar
import attrs
import numpy as np
from lcframework.hookspecs import hookimpl
"""
STAGE = (
    HEAD
    + """
from lcframework.work import FrameKey, Outcome, Replace, Stage, Task, Unit

@attrs.frozen
class Do(Task):
    def load(self, unit): return unit.payload
    def compute(self, values): return values
    def save(self, unit, values, result): return Outcome()

@attrs.define
class Trap(Stage):
    name: ClassVar[str] = "trap"
    title: ClassVar[str] = "Trap"
    after: ClassVar[str] = "psf_modeling"
    def tasks(self): return {FrameKey: Do(self.name, self.toolbox)}
    def units(self, session, ledger): return [Unit(FrameKey(1), "one", self.components(), 1)]

@hookimpl
def lcf_stages(): return {"trap": Trap}
"""
)
SURVEY = (
    HEAD
    + """
from astropy.table import Table

@attrs.frozen
class Trap:
    zero: float = 0.1
    def magnitudes(self, stars, band):
        table = Table(meta={"system": "AB"})
        table["source_id"] = stars["source_id"]
        table["mag"] = np.asarray(stars["magnitude"]) + self.zero
        table["mag_err"] = np.full(len(stars), 0.02)
        return table

@hookimpl
def lcf_calibration_surveys(): return {"trap": Trap}
"""
)
PSF = (
    HEAD
    + """
from lcframework.types import PSF, FitState, FitStatus

WORST = []

def kernel(fwhm, size=25):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    k = np.exp(-(x**2 + y**2) / 2 / (fwhm / 2.355) ** 2)
    return k / k.sum()

@attrs.frozen
class Trap:
    def fit(self, batch):
        return [self.one(batch, i) for i in range(len(batch))]
    def one(self, batch, i):
        k = kernel(batch.seeing[i])
        n = batch.data.shape[1]
        return PSF(k, k, 1, 0.0, FitStatus(FitState.CONVERGED, 1), 1.0)
    def at(self, psf, xy):
        return np.repeat(psf.narrow[None], len(xy), axis=0)

@hookimpl
def lcf_psf_models(): return {"trap": Trap}
"""
)
PARSER = (
    HEAD
    + """
from lcframework.types import HeaderInfo

@attrs.frozen
class Trap:
    def parse(self, header, path): return None

@hookimpl
def lcf_header_parsers(): return {"trap": Trap}
"""
)
EXECUTOR = (
    HEAD
    + """
class Trap:
    def __init__(self, workers): pass
    def run(self, task, batches):
        from lcframework.work import work
        for batch in batches:
            yield work(task, batch)
    def close(self, kill=False): pass

@hookimpl
def lcf_executors(): return {"trap": Trap}
"""
)
PANEL = (
    HEAD
    + """
class Trap:
    title = "Trap"
    def render(self, project): return "<p>fine</p>"

@hookimpl
def lcf_report_panels(): return {"trap": Trap}
"""
)
RULE = (
    HEAD
    + """
@attrs.frozen
class Trap:
    settings: ClassVar[tuple] = ("psf.stars",)
    before: ClassVar[str] = "psf_modeling"
    frames: ClassVar[int] = 3
    shared: ClassVar[bool] = True
    def decide(self, evidence): return []
    def differ(self, setting, old, new): return False

@hookimpl
def lcf_setting_rules(): return {"trap": Trap}
"""
)
COMMAND = """
import click
from lcframework.hookspecs import hookimpl

@click.command()
def run(): click.echo("mine")

@hookimpl
def lcf_commands(): return {"run": run, "hello": run}
"""
USE_SURVEY = '[calibration]\nplugin = "trap"\nband = "r"\n'
USE_PSF = '[psf]\nplugin = "trap"\n'
USE_STAGE = "stages"


def _but(code: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert old in code, old
        code = code.replace(old, new)
    return code


def _survey(title: str, words: str, old: str, new: str) -> Trap:
    code = _but(SURVEY, (old, new))
    return Trap(title, code, words, project=USE_SURVEY, shows=RUN, start="calculate_absolute_zeropoints")


def _psf(title: str, words: str, old: str, new: str) -> Trap:
    return Trap(title, _but(PSF, (old, new)), words, project=USE_PSF, shows=RUN, start="psf_modeling")


AFTER = '    after: ClassVar[str] = "psf_modeling"\n'
NAMED = '    name: ClassVar[str] = "trap"\n'
TRAPS: tuple[Trap, ...] = (
    # ------------------------------------------------------------ modules
    Trap("module that does not import", "import no_such_module\n", "No module named 'no_such_module'"),
    Trap("syntax error", "def lcf_exporters(:\n", "SyntaxError"),
    Trap("sys.exit() at import", "import sys\nsys.exit(3)\n", "it calls sys.exit when it is imported"),
    Trap("print at import", PARSER + 'print("hello")\n', ""),
    Trap("module without hooks", "x = 1\n", "trap_plugin has no hook"),
    Trap("entry point of a class, not its module", SURVEY, "Trap has no hook", entry=("trap = trap_plugin:Trap",)),
    Trap("misspelled hook", SURVEY.replace("lcf_calibration_surveys", "lcf_calibration_survey"), "did you mean"),
    Trap("forgotten @hookimpl", SURVEY.replace("@hookimpl\n", ""), "has no @hookimpl"),
    Trap("hook as a wrapper", SURVEY.replace("@hookimpl", "@hookimpl(wrapper=True)"), "is a wrapper"),
    Trap("listener without parameter", HEAD + "@hookimpl\ndef lcf_event(): pass\n", "is called with (event)"),
    Trap("listener as a wrapper", HEAD + "@hookimpl(hookwrapper=True)\ndef lcf_event(event): yield\n", "is a wrapper"),
    Trap("hook that returns a list", SURVEY.replace('{"trap": Trap}', "[Trap]"), "a mapping from names to classes"),
    Trap("name with a meaning", SURVEY.replace('{"trap"', '{"none"'), "has a meaning of its own"),
    # ------------------------------------------------------------ classes
    Trap("no attrs class", SURVEY.replace("@attrs.frozen", ""), "is not an attrs class"),
    Trap("method with fewer parameters", SURVEY.replace("self, stars, band", "self, stars"), "it is called with"),
    Trap("results_version that is no number", SURVEY.replace("    zero", '    results_version = "2.0"\n    zero'),
         "is no whole number"),
    Trap("option without annotation", SURVEY.replace("zero: float = 0.1", "zero = attrs.field(default=0.1)"),
         "has no annotation"),
    Trap("annotation that can't be read",
         "from __future__ import annotations\n" + SURVEY.replace("zero: float", "zero: Quantity"), "can't be read"),
    Trap("class that can't be pickled", SURVEY.replace("@hookimpl\ndef lcf_calibration_surveys(): return",
         "def make():\n    @attrs.frozen\n    class Inner(Trap): pass\n    return Inner\n\n@hookimpl\n"
         "def lcf_calibration_surveys(): return").replace('{"trap": Trap}', '{"trap": make()}'),
         "can't be sent to worker processes"),
    Trap("options that can't be pickled",
         _but(SURVEY, ("zero: float = 0.1", "zero: float = 0.1\n    f: object = attrs.field(factory=lambda: __import__('threading').Lock())")),
         "can't be sent to worker processes", project=USE_SURVEY, shows=RUN, start="calculate_absolute_zeropoints"),
    # ------------------------------------------------------------ stages
    Trap("stage without after", STAGE.replace(AFTER, ""), "does not say which stage it follows"),
    Trap("stage after no stage", STAGE.replace('= "psf_modeling"', '= "psf_modelling"'), 'did you mean "psf_modeling"'),
    Trap("stage after itself", STAGE.replace('= "psf_modeling"', '= "trap"'), "it comes after itself"),
    Trap("stage with a built-in stage's name",
         STAGE.replace('"trap"', '"psf_modeling"'), "is a stage of lcframework"),
    Trap("stage called as a section", STAGE.replace('"trap"', '"psf"'), "is a section of the project file"),
    Trap("stage of another name than offered", STAGE.replace(NAMED, NAMED.replace("trap", "other")), "give both one name"),
    Trap("module in two entry points", STAGE, "is also that of trap",
         entry=("trap = trap_plugin", "twin = trap_plugin")),
    Trap("no Stage", STAGE.replace("class Trap(Stage)", "class Trap"), "derive it from lcframework.work.Stage"),
    Trap("stage that needs no stage", STAGE.replace(AFTER, AFTER + '    needs: ClassVar[tuple] = ("psf",)\n'), "is no stage"),
    Trap("stage that needs a later stage",
         STAGE.replace(AFTER, AFTER + '    needs: ClassVar[tuple] = ("model_calibrated_cutouts",)\n'), "comes after"),
    Trap("stage whose needs are a text", STAGE.replace(AFTER, AFTER + '    needs: ClassVar[str] = "psf_modeling"\n'),
         "is no tuple of names"),
    Trap("stage without units", STAGE[: STAGE.index("    def units")] + STAGE[STAGE.index("\n@hookimpl") :],
         "has no method units"),
    Trap("stage whose units raise", STAGE.replace("return [Unit(", "return 1 / 0 or [Unit("),
         "units raised ZeroDivisionError", project=USE_STAGE, shows=RUN),
    Trap("stage whose units are no units", STAGE.replace('[Unit(FrameKey(1), "one", self.components(), 1)]', "[1]"),
         "something else than a list", project=USE_STAGE, shows=RUN),
    Trap("stage with an unknown table",
         STAGE.replace("return Outcome()", 'return Outcome((Replace("trap_table", {"a": 1}),))'),
         'there is no table "trap_table"', project=USE_STAGE, shows=RUN),
    Trap("stage that fails in a worker", STAGE.replace("def compute(self, values): return values",
         "def compute(self, values): return 1 / 0"), "ZeroDivisionError", project=USE_STAGE, shows=RUN),
    # ------------------------------------------------------------ executors, panels, rules, commands
    Trap("executor with fewer parameters", EXECUTOR.replace("(self, workers)", "(self)"), "it is called as"),
    Trap("executor without close", EXECUTOR.replace("def close(self, kill=False)", "def end(self)"), "has no method close"),
    Trap("executor that loses work", EXECUTOR.replace("yield work(task, batch)", "continue; yield"), "run lost",
         project="executor", shows=RUN, start="psf_modeling"),
    Trap("panel with fewer parameters", PANEL.replace("self, project", "self"), "it is called as"),
    Trap("panel without a title", PANEL.replace('    title = "Trap"\n', ""), "has no attribute title"),
    Trap("rule for what another rule decides", RULE.replace("psf.stars", "stamps.star_size"), "is decided by setting-"),
    Trap("rule before no stage", RULE.replace("psf_modeling", "psf"), "is no stage"),
    Trap("command called run", COMMAND, "is lcframework's own command", entry=("command.run = trap_plugin",)),
    Trap("command that calls sys.exit()", "import sys\nsys.exit(2)\n", "does not load: SystemExit",
         entry=("command.hello = trap_plugin",)),
    # ------------------------------------------------------------ wrong answers
    _survey("survey with mag_err of -0.02", "mag_err = -0.02", "0.02)", "-0.02)"),
    _survey("survey with part of its magnitudes nan", "values of mag that are not finite", "return table",
            "table['mag'][0] = np.nan\n        return table"),
    _survey("survey that returns a list", "a list", "return table", "return [1, 2]"),
    _survey("survey of stars that nobody asked for", "that it was not asked for", 'stars["source_id"]\n',
            '[str(i) for i in range(len(stars))]\n'),
    _survey("survey in another unit", "must be in mag", "return table", "table['mag'].unit = 'Jy'\n        return table"),
    _survey("survey that changes its input", "read-only", "return table", "stars['magnitude'][:] = 0\n        return table"),
    _survey("survey that calls sys.exit()", "raised SystemExit", "return table", "sys.exit(1)"),
    _survey("survey that prints, with --json", "", "return table", "print('hello')\n        return table"),
    _psf("PSFs of sum 3", "whose sum is 3", "k = kernel(batch.seeing[i])", "k = 3 * kernel(batch.seeing[i])"),
    _psf("PSFs of nan that converged", "not finite", "k = kernel(batch.seeing[i])", "k = np.nan * kernel(3.0)"),
    attrs.evolve(
        _psf("kernels of sum 3", "whose sum is 3", "np.repeat(psf.narrow[None]", "np.repeat(3 * psf.narrow[None]"),
        stop="star_photometry",
    ),
    _psf("too few PSFs", "PSFs for", "range(len(batch))", "range(len(batch) - 1)"),
    _psf("an exception for one frame of four", "raised ValueError: one frame", "k = kernel(batch.seeing[i])",
         "WORST.append(batch.seeing.max())\n        if batch.seeing[i] == WORST[0]: raise ValueError('one frame')\n"
         "        k = kernel(batch.seeing[i])"),
    Trap("parser that returns a text", _but(PARSER, ("return None", "return 'me'")), "parse returned a str",
         project='[header]\nplugin = "trap"\n', shows=RUN),
)  # fmt: skip


def prepare(folder: Path) -> Path:
    """Return a project of four simulated frames that is finished; it is made where it is not there."""
    from lcframework.testing.campaign import simulate_campaign

    base = folder / "base"
    if not (base / "database.sqlite3").exists():
        simulate_campaign(
            base, seed=3, frames=4, size=520, stars=12, saturated_stars=1, faint_stars=10, field_galaxies=2,
            target="double",
        )  # fmt: skip
        lcf("run", base / "project.toml")
    return base


def lcf(*arguments: object) -> tuple[int, str, str]:
    """Run `lcf` in this process, and return its exit code and what it printed."""
    from lcframework.cli import main as cli

    out, err, code = io.StringIO(), io.StringIO(), 0
    argv, sys.argv = sys.argv, ["lcf", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.argv = argv
    return code, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def installed(trap: Trap, folder: Path) -> Iterator[Path]:
    """Install a trap's package while the block runs; returns where it lies."""
    site = folder / "site" / trap.title.replace(" ", "_").replace("(", "").replace(")", "").replace("/", "")
    shutil.rmtree(site, ignore_errors=True)
    info = site / "lcf_trap-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "trap_plugin.py").write_text(trap.code)
    about = (
        "Metadata-Version: 2.1\nName: lcf-trap\nVersion: 1.0\nProject-URL: Issues, https://example.org/trap/issues\n"
    )
    (info / "METADATA").write_text(about)
    entries = [f"{trap.entry} = trap_plugin"] if isinstance(trap.entry, str) else list(trap.entry)
    (info / "entry_points.txt").write_text("[lcframework]\n" + "\n".join(entries) + "\n")
    sys.path.insert(0, str(site))
    try:
        yield site
    finally:
        sys.path.remove(str(site))
        sys.modules.pop("trap_plugin", None)


def spring(trap: Trap, base: Path, folder: Path) -> tuple[str, bool]:
    """Return what the user sees of a trap, and whether another project is none the worse for it."""
    with installed(trap, folder):
        if trap.shows == PLUGINS:
            _, out, err = lcf("plugins")
            seen = [line.strip() for line in (out + err).splitlines() if "BROKEN" in line]
        else:
            seen = _run(trap, base, folder)
        other, _, _ = lcf("status", base / "project.toml")
    text = " ".join(seen)
    for place in (str(folder / "site"), str(folder)):
        text = text.replace(place, "...")
    return text, other == 0


def _run(trap: Trap, base: Path, folder: Path) -> list[str]:
    place = folder / "project"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(base, place)
    project = place / "project.toml"
    text = project.read_text()
    if trap.project in ("stages", "executor"):
        line = 'stages = ["trap"]' if trap.project == "stages" else 'executor = "trap"'
        text = _in_table(text, "run", line)
    else:
        for block in trap.project.split("\n["):
            name, _, lines = block.strip("[").partition("]\n")
            text = _in_table(text, name, *lines.strip().splitlines())
    project.write_text(text)
    start = ["--start", trap.start, "--stop", trap.stop or trap.start] if trap.start else []
    force = ["--force", trap.start] if trap.project == "executor" else []
    code, out, err = lcf("run", project, *start, *force, *(["--json"] if "--json" in trap.title else []))
    if "--json" in trap.title:
        import json

        return [f"exit {code}; the outcome is JSON: {isinstance(json.loads(out), dict)}; in lcf.log: "
                + next(line for line in (place / "lcf.log").read_text().splitlines() if "printed" in line)]  # fmt: skip
    lines = [*out.splitlines(), *err.splitlines()]
    return [f"exit {code}.", *(line.strip() for line in lines if line.startswith(("Failed", "Stopped", "Error")))]


def _in_table(text: str, table: str, *lines: str) -> str:
    """Return a project file with lines in a table, instead of those of the same options."""
    out, inside, done = [], False, False
    options = {line.split("=")[0].strip() for line in lines}
    for line in text.splitlines():
        if line.startswith("["):
            inside = line.strip() == f"[{table}]"
            out.append(line)
            if inside:
                out += lines
                done = True
        elif not (inside and line.split("=")[0].strip() in options):
            out.append(line)
    return "\n".join(out if done else [*out, f"[{table}]", *lines]) + "\n"


def _short(text: str) -> str:
    """Return what is seen as a cell of a table: once, without paths and without the address of the authors."""
    first = text.replace("|", "/").split(" Failed, a bug: ")
    cell = " Failed, a bug: ".join(first[:2])
    cell = re.sub(r" \([^()]*?trap_plugin\.py, line (\d+)\)", r" (FILE, line \1)", cell)
    return re.sub(r"Please report it to \S+ \S+", "Please report it to ...", cell)


def main(arguments: list[str]) -> None:
    folder = Path(arguments[0]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    markdown = "--markdown" in arguments
    words = [a for a in arguments[1:] if not a.startswith("-")]
    base = prepare(folder)
    rows: list[Any] = []
    for trap in (t for t in TRAPS if all(w in t.title for w in words)):
        text, harmless = spring(trap, base, folder)
        right = trap.words in text and harmless
        rows.append(right)
        mark = "" if right else "  <-- NOT AS IT SHOULD BE" + ("" if harmless else ": other projects fail")
        if markdown:
            print(f"| {trap.title} | {_short(text)}{mark} |", flush=True)
        else:
            print(f"{trap.title}\n    {trap.shows}: {text or 'nothing'}{mark}", flush=True)
    print(f"\n{sum(rows)} of {len(rows)} traps are told as they should be, and harm no other project.")


if __name__ == "__main__":
    main(sys.argv[1:])
