"""One run at a time."""

from __future__ import annotations

import os

import pytest

from lcframework.storage.lock import hold
from lcframework.types import LcfError


def test_a_workdir_is_held_once_and_then_free(tmp_path):
    folder = tmp_path / "new" / "workdir"
    with hold(folder), pytest.raises(LcfError, match=f"another run holds .*process {os.getpid()}, since"), hold(folder):
        pass
    with hold(folder):
        pass


def test_a_place_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LcfError, match=r"can't be written: .*workdir"), hold(tmp_path / "file"):
        pass
