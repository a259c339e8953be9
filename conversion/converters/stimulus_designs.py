"""design -> stimulus_designs. Table draws -> information; its column draw -> sample."""
from experiments.runs import Result
from experiments.stimulus_designs import DESIGNS, Config

OLD = "design"


def convert(config, values, frames, arrays):
    assert not values and not arrays and set(frames) == {"draws"}
    made = Config(
        config["convention"], config["design"], config["seed"],
        noise_factors=tuple(config["noise_factors"]), n_samples=config["n"], **DESIGNS[config["design"]],
    )
    return made, Result({"information": frames["draws"].rename(columns={"draw": "sample"})})
