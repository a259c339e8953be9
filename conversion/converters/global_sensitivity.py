"""why-sobol -> global_sensitivity."""
from experiments.global_sensitivity import Config
from experiments.runs import Result

OLD = "why-sobol"


def convert(config, values, frames, arrays):
    assert not values and not arrays and set(frames) == {"indices"}
    return Config(config["convention"], config["seed"], n=config["n"]), Result(frames)
