"""why-local -> local_information. Table errors -> standard_errors; column draw -> sample."""
from experiments.local_information import Config
from experiments.runs import Result

OLD = "why-local"


def convert(config, values, frames, arrays):
    assert not values and not arrays and set(frames) == {"sensitivity", "errors"}
    frames = {name: frame.rename(columns={"draw": "sample"}) for name, frame in frames.items()}
    made = Config(config["convention"], config["seed"], n_samples=config["n_draws"])
    return made, Result({"sensitivity": frames["sensitivity"], "standard_errors": frames["errors"]})
