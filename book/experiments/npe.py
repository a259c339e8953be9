"""Posteriors trained with sbi's NPE on many and on few simulations, for their own chapter."""

from experiments.results import Result
from jrlib.inference.flows import train_npe
from jrlib.priors import Prior
from jrlib.sensors.datasets import make_dataset

TRAIN, VALIDATION, TEST = range(3)  # streams of random numbers within a seed


def study(convention, noise_factor, n_simulations, epochs, seed, prior="normal"):
    """Simulate, train and return the weights: what chapter 4 keeps in its store.

    convention : name of a `Convention`; prior : kind of the `Prior`; seed : whole number. A tenth
    more simulations are drawn for validation.

    Returns a `Result`: table "history"; the weights as arrays; values "config" (for
    `Posterior.from_state`) and "snr_db".
    """
    sets = [
        make_dataset(n, [seed, stream], convention=convention, prior=Prior(kind=prior))
        for n, stream in ((n_simulations, TRAIN), (max(n_simulations // 10, 20), VALIDATION))
    ]
    trained = train_npe(
        *sets, noise_factor=noise_factor, seed=seed, prior=Prior(kind=prior), epochs=epochs
    )
    weights, config = trained.state()
    values = {"config": config, "snr_db": sets[0].snr_db(noise_factor)}
    return Result({"history": trained.history}, weights, values)
