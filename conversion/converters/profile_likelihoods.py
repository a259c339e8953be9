"""why-profile -> profile_likelihoods."""
from experiments.profile_likelihoods import Config
from experiments.runs import Result

OLD = "why-profile"


def convert(config, values, frames, arrays):
    assert not values and not arrays and set(frames) == {"profile"}
    made = Config(
        config["convention"], config["name"], config["seed"], config["factor"],
        noise_factor=config["noise_factor"], n_values=config["n_values"],
    )
    return made, Result(frames)
