"""Least-squares fits of test observations: their scores are those of the fits."""

from experiments import least_squares_fits
from experiments.least_squares_fits import Config


def test_the_result_scores_its_own_fits():
    result = least_squares_fits.run(Config("RELEASED", 0, noise_factor=1.0, n_fits=4))
    assert len(result.tables["fits"]) == 4
    assert result.tables["fits"].explained.all()
    values = result.tables["scores"].set_index(["metric", "parameter"]).value
    assert values["pearson", "A_i"] > 0.99
    assert values["rmse", "b_i"] < 0.1
