from experiments.flow_alternatives import Config
from experiments.runs import Result
from jrlib.inference.amortised import NetworkSettings

OLD = "ways"


def convert(config, values, frames, arrays):
    assert not values
    made = Config(
        config["convention"], config["seed"], n_trainings=config["n_trainings"],
        n_simulations=config["n_simulations"], n_test=config["n_test"],
        n_checked=config["n_checked"], n_samples=config["n_samples"],
        noise_factors=tuple(map(float, config["noise_factors"])),
        network=NetworkSettings(flow=config["flow"], epochs=config["passes"]),
    )
    # Some rows say the seed of a network and some "ensemble": words, whatever pandas guesses.
    scores = frames["scores"].assign(network=frames["scores"].network.astype(str))
    return made, Result({"scores": scores}, dict(arrays))
