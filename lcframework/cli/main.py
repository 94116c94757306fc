"""The command group ``lcf``: lists commands without importing them; errors become messages and exit codes."""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys

import click

from lcframework.entry_points import DISABLED, EVERY
from lcframework.plugin_kit.commands import load, plugin_commands

EXIT_FAILURE = 1

#: Command -> (module, description in `lcf --help`).
COMMANDS = {
    "init": ("init", "Write a project file by a look at frames, or one to edit, or convert one of lightcurver."),
    "headers": ("headers", "Show what header parsers read from a folder's files, and what is missing."),
    "prefetch": ("prefetch", "Make all network queries of a run, for runs without network."),
    "run": ("run", "Run all stages; products that are up to date are kept."),
    "watch": ("watch", "Run a project as its frames arrive, until it is stopped."),
    "status": ("status", "Show the state of stages and frames, and why units are pending."),
    "why": ("why", "Show where one number of a light curve comes from, or why there is none."),
    "settings": ("settings", "Show what frames decided about settings, or have it decided again."),
    "upgrade": ("upgrade", "Migrate the database of an earlier version."),
    "clean": ("clean", "Remove files that no product refers to any more."),
    "trust": ("trust", "Allow the code that a project brings along, or undo that."),
    "exclude": ("exclude", "Exclude frames with a reason, or undo that."),
    "plugins": ("plugins", "Show installed plugins, their options and their health."),
    "doctor": ("doctor", "Check this machine: GPU, plate solver, index files, network, write access."),
    "inject": ("inject", "Draw sources of known light curves in the frames, and see what is measured."),
    "export": ("export", "Write light curves in another format."),
    "report": ("report", "Draw the diagnostic plots and write the HTML report."),
    "demo": ("demo", "Simulate a campaign of a lensed quasar and run everything on it."),
}


class LazyGroup(click.Group):
    """Imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the built-in commands, then those of plugins."""
        return [*COMMANDS, *sorted(plugin_commands(COMMANDS))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name in COMMANDS:
            module = importlib.import_module(f"lcframework.cli.{COMMANDS[cmd_name][0]}")
            command: click.Command = module.command
            if not any(option.name == "no_plugins" for option in command.params):
                command.params.append(_no_plugins())
            return command
        extra = plugin_commands(COMMANDS)
        return load(cmd_name, extra[cmd_name]) if cmd_name in extra else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, without importing their modules."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])
        extra = plugin_commands(COMMANDS)
        if extra:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(
                    [(n, f"from {p.dist.name if p.dist else p.value}") for n, p in sorted(extra.items())]
                )


def _only_built_in(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    """Load no plugin but the built-in ones while the command runs, in its worker processes too."""
    if not value:
        return
    before = os.environ.get(DISABLED)
    os.environ[DISABLED] = EVERY

    def restore() -> None:
        if before is None:
            os.environ.pop(DISABLED, None)
        else:
            os.environ[DISABLED] = before

    ctx.find_root().call_on_close(restore)


def _no_plugins() -> click.Option:
    return click.Option(
        ["--no-plugins"], is_flag=True, expose_value=False, is_eager=True, callback=_only_built_in,
        help="Load the built-in plugins alone.",
    )  # fmt: skip


def _storage_fault(error: Exception) -> str:
    """Return that a disk is full or can't be written; empty for other errors."""
    from pathlib import Path

    from lcframework.storage.faults import cannot_write

    return cannot_write(error, Path.cwd())


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lcframework", prog_name="lcf")
def lcf() -> None:
    """Light curves of blended point sources from wide-field images.

    Start with `lcf init`, or see everything work with `lcf demo`.
    """


lcf.params.append(_no_plugins())


def main() -> None:
    """Run `lcf`; exit 0 success, 1 failure, 2 usage, 3 finished with unusable inputs."""
    # The matrices of the fits are small: more threads for linear algebra double the CPU time without a gain. The
    # variable must be set before NumPy is imported. A value that the user has set is kept.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Python collects garbage after every 700 new objects. Imports make many permanent objects, so that a seventh of
    # the start-up time would be spent on collections.
    gc.set_threshold(50_000, *gc.get_threshold()[1:])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files need not be texts
            stream.reconfigure(errors="backslashreplace")
    try:
        _run()
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(EXIT_FAILURE)
    except Exception as error:
        from lcframework.types import LcfError, readable

        if isinstance(error, LcfError):
            text = str(error)
        elif not (text := _storage_fault(error)):
            if not (isinstance(error, OSError) and error.errno is not None):  # of the machine, not of the program
                raise
            text = f"{error.strerror}{f': {error.filename}' if error.filename else ''}"
        click.echo(f"Error: {readable(text)}", err=True)
        sys.exit(EXIT_FAILURE)


def _run() -> None:
    """Run the command; where the project brings code that was not allowed, ask, and begin again after a yes."""
    while True:
        try:
            lcf(prog_name="lcf", standalone_mode=False)
        except Exception as error:
            from lcframework.trust import NotTrusted

            if not isinstance(error, NotTrusted):
                raise
            from lcframework.cli.trust import ask

            if not ask(error):
                raise
        else:
            return
