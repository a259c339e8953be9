"""intrinsic -> intrinsic_noise. A new column "covered" of the table "scores" is computed from the stored ranks."""
import numpy as np

from experiments.intrinsic_noise import INPUTS, Config, interval_levels
from experiments.runs import Result
from jrlib.inference.flows import NPESettings

OLD = "intrinsic"


def convert(config, values, frames, arrays):
    assert not values and set(frames) == {"scores"}
    inputs, n_samples = tuple(config["inputs"]), config["n_samples"]
    made = Config(
        config["convention"], config["n_trials"], config["seed"], variable=tuple(config["variable"]),
        noise_factor=config["noise_factor"], n_simulations=config["n_simulations"],
        n_validation=max(config["n_simulations"] // 10, 20), n_test=config["n_test"], n_samples=n_samples,
        training=NPESettings(epochs=config["epochs"], batch_size=256, learning_rate=2e-3), inputs=inputs,
        noise=tuple(INPUTS[name]["noise"] for name in inputs),
        background=tuple(INPUTS[name]["background"] for name in inputs),
    )
    covered = (interval_levels(arrays["ranks"], n_samples) <= made.credibility).mean(axis=1)
    assert covered.size == len(frames["scores"])
    return made, Result({"scores": frames["scores"].assign(covered=np.concatenate(covered))}, arrays)
