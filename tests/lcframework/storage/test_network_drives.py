"""Workdirs on network drives are told by the table of mounts, and their database has no write-ahead log."""

from __future__ import annotations

import logging

import pytest

from lcframework.storage import network_drives
from lcframework.storage.connection import open_engine
from lcframework.storage.network_drives import network_drive


@pytest.fixture
def mounts(tmp_path, monkeypatch):
    """Return a function that writes the table of mounts."""
    table = tmp_path / "mounts"
    monkeypatch.setattr(network_drives, "_MOUNTS", table)
    return lambda *lines: table.write_text("".join(f"{line} rw 0 0\n" for line in lines))


@pytest.mark.parametrize(
    ("lines", "folder", "kind"),
    [
        (["/dev/sda / ext4", "server:/data /data nfs4"], "/data/night/work", "nfs4"),
        (["/dev/sda / ext4", "server:/data /data nfs4"], "/database/work", ""),
        (["/dev/sda / ext4", "server:/data /data nfs4", "/dev/sdb /data/local xfs"], "/data/local/work", ""),
        (["/dev/sda / ext4", "//server/data /my\\040data cifs"], "/my data/work", "cifs"),
        (["overlay / overlay", "server:/ /data nfs", "tmpfs /data tmpfs"], "/data/work", ""),
    ],
)
def test_the_nearest_mount_decides(mounts, tmp_path, lines, folder, kind):
    mounts(*lines)
    assert network_drive(type(tmp_path)(folder)) == kind


def test_no_table_of_mounts(tmp_path, monkeypatch):
    monkeypatch.setattr(network_drives, "_MOUNTS", tmp_path / "none")
    assert network_drive(tmp_path) == ""


@pytest.mark.parametrize(("kind", "mode"), [("ext4", "wal"), ("nfs4", "delete")])
def test_a_database_on_a_network_drive_has_no_log_and_says_so(mounts, tmp_path, caplog, kind, mode):
    mounts(f"somewhere {tmp_path.resolve()} {kind}")
    with caplog.at_level(logging.WARNING, "lcframework"):
        engine = open_engine("", tmp_path)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == mode
    assert ("is on a network drive (nfs4)" in caplog.text) == (kind == "nfs4")
    engine.dispose()
