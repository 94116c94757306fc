"""The same campaign with its database on a PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if Path("/usr/lib/postgresql").is_dir() else []


def as_server_user(*command):
    """Return a command as a user that PostgreSQL accepts: it refuses root."""
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else list(command)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Start a server of our own on a free port of loopback; return its URL."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'lcframework[postgres]'")
    if not PROGRAMS:
        pytest.skip("no PostgreSQL server is installed (apt install postgresql)")
    if os.geteuid() == 0 and (shutil.which("runuser") is None or not _user_exists("postgres")):
        pytest.skip("as root, and without a user postgres: PostgreSQL does not run as root")
    folder = Path(
        subprocess.check_output(as_server_user("mktemp", "-d", "/tmp/lcf_postgres_XXXXXX"), text=True).strip()
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    initdb, pg_ctl = PROGRAMS[-1] / "initdb", PROGRAMS[-1] / "pg_ctl"
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    try:
        _quietly(as_server_user(initdb, "-D", data, "-U", "lcf", "-A", "trust", "-E", "UTF8"), folder)
        _quietly(as_server_user(pg_ctl, "-D", data, "-l", folder / "log", "-w", "-o", options, "start"), folder)
        yield f"postgresql+psycopg://lcf@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run(as_server_user(pg_ctl, "-D", data, "-m", "immediate", "stop"), cwd="/", capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def _user_exists(name):
    import pwd

    return any(entry.pw_name == name for entry in pwd.getpwall())


def _quietly(command, folder):
    # The server outlives the command: it must not hold its pipes.
    with Path(os.devnull).open("w") as nowhere:
        ended = subprocess.run(list(map(str, command)), cwd="/", stdout=nowhere, stderr=nowhere, check=False)
    if ended.returncode:
        pytest.fail(f"{command[-1]} failed; see {folder / 'log'}")


def test_campaign_on_a_server(fresh, finished, server, monkeypatch):
    fresh.edit('workdir = "."', f'workdir = "."\ndatabase = "{server}"')
    fresh.edit(
        "pixel_scale = [0.199, 0.221]", "max_anisotropy = 0.02"
    )  # so that an infinite limit is among the settings
    ended = fresh.run()
    assert ended.code == 0, ended.out + ended.err
    assert not (fresh.folder / "database.sqlite3").exists()
    fresh.assert_same_curve(finished)
    assert fresh.done() == {}
    engine = sa.create_engine(server)
    with engine.connect() as connection:
        assert connection.execute(sa.text("select count(*) from frames")).scalar() == 4
        assert connection.execute(sa.text("select outcome from runs order by id")).scalars().all() == ["success"] * 2
        assert connection.execute(sa.text("select count(*) from plans")).scalar() == 12
        counts = dict(connection.execute(sa.text("select name, count from changes")).all())
        assert counts["frames"] > 0
        assert counts["products/psf_modeling"] == 4
    with engine.begin() as connection:  # by hand
        connection.execute(sa.text("delete from products where stage = 'model_calibrated_cutouts'"))
    assert fresh.done() == {"model_calibrated_cutouts": 2}
    with engine.connect() as connection:
        assert (
            connection.execute(sa.text("select count from changes where name = 'frames'")).scalar() == counts["frames"]
        )
    engine.dispose()
    assert {state for state, _ in fresh.frames().values()} == {"used"}
    shutil.copy2(fresh.spare[0], fresh.folder / "raw")
    (fresh.folder / "raw" / "text.fits").write_text("no image")
    done = fresh.done("--stop", "stamp_extraction")
    assert done["stamp_extraction"] == 1
    assert fresh.frames()["text.fits"][0] == "eliminated"
    assert fresh.lcf("exclude", fresh.project, fresh.spare[0].name, "--why", "clouds").code == 0
    done = fresh.done("--force", "stamp_extraction", "--stop", "calculate_normalization_coefficient")
    assert done["stamp_extraction"] == done["psf_modeling"] == 4
