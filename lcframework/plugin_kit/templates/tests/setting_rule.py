from lcframework.plugin_kit.templates.setting_rule import SETTING, PluginClass
from lcframework.testing import check_setting_rule


def test_it_decides_by_simulated_frames() -> None:
    (decision,) = check_setting_rule(PluginClass())
    assert decision.setting == SETTING
    assert decision.value == 0.2  # the sources are round
