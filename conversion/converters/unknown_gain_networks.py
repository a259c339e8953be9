"""gain-npe -> unknown_gain_networks. A new table "scores" is computed from the stored arrays."""
from experiments.runs import Result
from experiments.unknown_gain_networks import Config, score_answers
from jrlib.inference.flows import NPESettings

OLD = "gain-npe"


def convert(config, values, frames, arrays):
    assert not values and not frames
    made = Config(
        config["convention"], config["seed"], n_simulations=config["n_simulations"],
        n_validation=max(config["n_simulations"] // 10, 20), n_test=config["n_test"],
        n_samples=config["n_samples"], noise_factor=config["noise_factor"], gain_sd=config["gain_sd"],
        training=NPESettings(epochs=config["epochs"], batch_size=256, learning_rate=2e-3),
    )
    return made, Result({"scores": score_answers(made, arrays)}, arrays)
