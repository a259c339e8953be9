from experiments import amortised_posteriors, tables
from experiments.local_calibration import Config
from experiments.runs import Result

OLD = "local"


def convert(config, values, frames, arrays):
    assert not values and not arrays
    trained = amortised_posteriors.kept("paper", config["seed"])[config["convention"]]
    assert trained.n_simulations == config["n_simulations"]
    made = Config(
        config["convention"], config["noise_factor"], config["seed"],
        trained=tables.run_name(trained), n_learnt=config["n_learnt"],
        n_chance=config["n_chance"], n_classifiers=config["n_classifiers"],
        n_judged=config["n_judged"],
    )
    return made, Result(dict(frames))
