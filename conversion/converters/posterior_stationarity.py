from experiments import exact_posteriors, tables
from experiments.posterior_stationarity import Config
from experiments.runs import Result

OLD = "stationarity"


def convert(config, values, frames, arrays):
    assert not values and not arrays and set(frames) == {"observations"}
    exact = tuple(
        tables.run_name(c)
        for c in exact_posteriors.grid("paper", config["seed"])
        if (c.variant, c.convention, c.noise_factor)
        == ("standard", config["convention"], config["noise_factor"])
    )
    blocks = [
        c for c in exact_posteriors.grid("paper", config["seed"]) if tables.run_name(c) in exact
    ]
    assert sum(c.n_observations for c in blocks) == config["n"]
    assert {(c.n_samples, c.n_test) for c in blocks} == {(config["n_draws"], config["n_test"])}
    made = Config(
        config["convention"], config["noise_factor"], config["seed"], exact=exact,
        n_steps=config["n_steps"],
    )
    return made, Result(dict(frames))
