from lcframework.plugin_kit.templates.reduction import PluginClass
from lcframework.testing import check_reduction


def test_it_reduces_frames_of_a_simulated_detector() -> None:
    check_reduction(PluginClass())
