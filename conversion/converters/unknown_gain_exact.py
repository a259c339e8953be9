"""gain-exact -> unknown_gain_exact. Column ess -> effective_sample_size."""
from experiments.runs import Result
from experiments.unknown_gain_exact import Config

OLD = "gain-exact"


def convert(config, values, frames, arrays):
    assert not values and set(frames) == {"observations"}
    made = Config(
        config["convention"], config["first"], config["seed"], n=config["n"], n_samples=config["n_draws"],
        n_test=config["n_test"], noise_factor=config["noise_factor"], gain_sd=config["gain_sd"],
    )
    table = frames["observations"].rename(columns={"ess": "effective_sample_size"})
    return made, Result({"observations": table}, arrays)
