from experiments import amortised_posteriors, tables
from experiments.corrected_answers import Config
from experiments.runs import Result

OLD = "answers"


def convert(config, values, frames, arrays):
    assert not values
    trained = amortised_posteriors.kept("paper", config["seed"])[config["convention"]]
    assert trained.n_simulations == config["n_simulations"]
    made = Config(
        config["convention"], config["noise_factor"], config["seed"],
        trained=tables.run_name(trained), n_answered=config["n_answered"],
        n_samples=config["n_draws"], n_told=config["n_told"],
    )
    frame = frames["answers"].rename(columns={"efficiency": "relative_ess"})
    return made, Result({"answers": frame}, dict(arrays))
