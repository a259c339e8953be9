"""Posteriors trained with NPE for their own chapter: what is stored rebuilds them."""

import numpy as np
import pytest

from experiments import npe
from jrlib.inference.flows import NPESettings, Posterior
from jrlib.priors import Prior


@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_study_stores_what_rebuilds_the_posterior(prior):
    settings = NPESettings(epochs=2)
    sizes = {"n_simulations": 40, "n_validation": 20}
    config = npe.Config("RELEASED", 0, noise_factor=1.0, prior=prior, settings=settings, **sizes)
    result = npe.run(config)
    rebuilt = Posterior.from_state(result.weights, result.about)
    assert rebuilt.prior == Prior(kind=prior)
    assert rebuilt.sample(np.sin(np.arange(301.0)), 4, seed=0).shape == (4, 9)
    assert list(result.tables["history"]) == ["epoch", "train_loss", "validation_loss"]
