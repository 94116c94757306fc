from lcframework.plugin_kit.templates.executor import PluginClass
from lcframework.testing import check_executor


def test_every_unit_is_done_once() -> None:
    check_executor(PluginClass)
