import logging

import pytest

from lcframework.plugin_kit.templates.listener import lcf_event
from lcframework.testing import check_listener
from lcframework.types import RunEvent


def test_it_takes_every_event() -> None:
    check_listener(lcf_event)


def test_it_speaks_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "lcframework.plugin_name"):
        lcf_event(RunEvent("stage_finished", "psf_modeling"))
        lcf_event(RunEvent("run_finished"))
    assert [record.getMessage() for record in caplog.records] == ["the run has ended"]
