import pandas as pd

from experiments.amortised_posteriors import EXPERIMENT, Config
from experiments.runs import Result
from jrlib.inference.amortised import NetworkSettings

OLD = "calibration"


def convert(config, values, frames, arrays):
    made = Config(
        config["convention"], config["n_simulations"], config["seed"], keep=config["keep"],
        n_test=config["n_test"], n_checked=config["n_checked"], n_samples=config["n_samples"],
        noise_factors=tuple(map(float, config["noise_factors"])), n_exact=config["n_exact"],
        n_exact_samples=config["n_draws"], most_exact_samples=6 * config["n_draws"],
        network=NetworkSettings(
            epochs=max(2, min(50, round(config["seen"] / config["n_simulations"])))
        ),
    )
    about = values["config"]
    assert set(values) == {"config"}
    # All that the training's own record says is in the configuration or a value.
    for name, value in about.items():
        if name in ("n_scores", "n_diverged", "n_networks"):
            continue
        setting = getattr(made.network, name)
        assert (list(setting) if isinstance(setting, tuple) else setting) == value, name
    assert about["n_networks"] == 1
    frames = dict(frames)
    assert len(frames["history"]) == made.network.epochs
    columns = list(EXPERIMENT.tables["exact"])
    exact = frames.pop("exact", None)
    assert (exact is not None) == made.keep
    exact = pd.DataFrame(columns=columns) if exact is None else exact
    frames["exact"] = exact.rename(columns={"efficiency": "relative_ess"})
    weights = {k.removeprefix("weights/"): a for k, a in arrays.items() if k.startswith("weights/")}
    assert bool(weights) == made.keep
    rest = {
        {"efficiency": "relative_ess"}.get(name, name): array
        for name, array in arrays.items()
        if not name.startswith("weights/")
    }
    kept = {"weights": weights, "about": about} if weights else {}
    return made, Result(
        frames, rest, {name: about[name] for name in ("n_scores", "n_diverged")}, **kept
    )
