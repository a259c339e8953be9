"""trust -> wrong_assumptions. A new table "scores" (noticed and answered by fault) is computed from the stored one."""
from experiments.runs import Result
from experiments.wrong_assumptions import EXPERIMENT, Config, _parts
from jrlib.inference.amortised import NetworkSettings

OLD = "trust"


def convert(config, values, frames, arrays):
    assert not values and set(frames) == {"recordings"}
    epochs = max(2, min(50, round(config["seen"] / config["n_simulations"])))
    made = Config(
        config["convention"], config["seed"], noise_factors=tuple(config["noise_factors"]),
        n_simulations=config["n_simulations"], n_test=config["n_test"], n_faultless=config["n_right"],
        n_faulty=config["n_wrong"], network=NetworkSettings(epochs=epochs),
    )
    table = frames["recordings"][list(EXPERIMENT.tables["recordings"])]
    return made, Result({"recordings": table, "scores": _parts(table)}, arrays)
