"""design-confirmed -> confirmed_designs. Column draw -> sample, efficiency -> relative_effective_sample_size."""
from experiments.confirmed_designs import Config
from experiments.runs import Result
from experiments.stimulus_designs import DESIGNS
from jrlib.inference.amortised import NetworkSettings

OLD = "design-confirmed"
NAMES = {"draw": "sample", "efficiency": "relative_effective_sample_size"}


def convert(config, values, frames, arrays):
    assert not values and not arrays and set(frames) == {"scores", "log_q", "answers"}
    factor = config["noise_factor"]
    made = Config(
        config["convention"], config["design"], config["seed"], noise_factor=factor,
        n_simulations=config["n_simulations"], n_test=config["n_test"], n_answered=config["n_answered"],
        n_samples=config["n_draws"],
        network=NetworkSettings(epochs=config["passes"], noise_factors=(factor / 2.0, 2.0 * factor)),
        **DESIGNS[config["design"]],
    )
    return made, Result({name: frame.rename(columns=NAMES) for name, frame in frames.items()})
