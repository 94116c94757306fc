"""Combined flux estimates in a project: what is published, and what the option for PSF fluxes leaves of it."""

from __future__ import annotations

import json

FLUXES = "select gaia_id, frame_id, flux, flux_uncertainty from star_flux_in_frame order by 1, 2"


def test_few_frames_publish_psf_fluxes_which_the_option_keeps(campaign, finished):
    parts = campaign.query(
        "select psf_flux, psf_flux_uncertainty, weights from star_flux_in_frame order by gaia_id, frame_id"
    )
    before = campaign.query(FLUXES)
    assert [(flux, error) for *_, flux, error in before] == [(flux, error) for flux, error, _ in parts]
    assert {weights for *_, weights in parts} == {"[1.0]"}
    ((note, radii, frames),) = campaign.query("select note, radii, frames from estimator_weights")
    assert note.startswith("not calibrated")
    assert (json.loads(radii), frames) == ([], 4)
    assert [json.loads(s) for (s,) in campaign.query("select scale from estimator_scales")] == [[1.0]] * 4
    campaign.append('[photometry]\nestimator = "psf"')
    assert campaign.done()["star_photometry"] == 4
    assert campaign.query(FLUXES) == before
    assert campaign.query("select count(*) from star_flux_in_frame where psf_flux is not null") == [(0,)]
    assert campaign.query("select count(*) from estimator_weights") == [(0,)]
    assert campaign.query("select count(*) from estimator_scales") == [(0,)]
    campaign.assert_same_curve(finished)


def test_a_new_frame_is_measured_and_the_choice_made_again(campaign):
    extra = campaign.spare[0]
    extra.rename(campaign.folder / "raw" / extra.name)
    assert campaign.done("--stop", "star_photometry")["star_photometry"] == 2
    ((note, frames),) = campaign.query("select note, frames from estimator_weights")
    assert frames == 5
    assert "stars by" in note
    # A file of estimates that is gone is made again, and the choice is as it was.
    before = campaign.query(FLUXES)
    next((campaign.folder / "regions").glob("*/fluxes_*.h5")).unlink()
    assert campaign.done("--stop", "star_photometry") == {"star_photometry": 2}
    assert campaign.query(FLUXES) == before
