"""A simulated campaign of a lensed quasar with known truth, for the demo, the tests and the benchmarks."""

from __future__ import annotations

from lcframework.testing.campaign.evaluate import cramer_rao_scatter, evaluate_light_curves
from lcframework.testing.campaign.files import CampaignTruth, extend_campaign, read_truth, simulate_campaign
from lcframework.testing.campaign.project_file import untuned_toml
from lcframework.testing.campaign.settings import CampaignSettings

__all__ = [
    "CampaignSettings",
    "CampaignTruth",
    "cramer_rao_scatter",
    "evaluate_light_curves",
    "extend_campaign",
    "read_truth",
    "simulate_campaign",
    "untuned_toml",
]
