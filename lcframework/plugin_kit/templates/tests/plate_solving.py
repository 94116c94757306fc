from lcframework.plugin_kit.templates.plate_solving import PluginClass
from lcframework.testing import check_plate_solver


def test_it_solves_simulated_fields_and_no_others() -> None:
    check_plate_solver(PluginClass())
