from lcframework.plugin_kit.templates.roi_model import PluginClass
from lcframework.testing import check_roi_model


def test_it_measures_a_simulated_quasar() -> None:
    # CHECK: with galaxy=True once the model separates sources from extended light.
    check_roi_model(PluginClass(), galaxy=False)
