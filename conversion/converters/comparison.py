"""Old folder comparison -> experiment comparison."""
OLD = "comparison"
LONGER = 3


def convert(config, values, frames, arrays):
    from dataclasses import replace

    from experiments import comparison
    from experiments.compared_methods import METHODS
    from experiments.runs import Result
    from jrlib.neural.architectures import build_regressor

    made = METHODS[config["method"]]
    fields = {name: config[name] for name in ("noise_factor", "n_simulations", "n_test", "variant", "keep")}
    epochs = config["epochs"]
    if epochs == 150:
        assert (config["method"], config["variant"], config["n_simulations"]) == ("VanillaLSTM", "standard", 1000)
        fields["variant"], epochs = "longer", epochs // LONGER
    new = comparison.configuration(
        config["convention"], config["method"], config["seed"], epochs=epochs, **fields
    )
    if made.is_network:
        assert new.training.epochs == config["epochs"]
    history = frames.pop("history", None)
    if history is None:
        import pandas as pd
        assert not made.is_network and made.kind != "NPE"
        history = pd.DataFrame(columns=comparison.HISTORY)
    scores = frames.pop("scores")
    assert not frames, frames.keys()
    weights = {n.removeprefix("weights/"): a for n, a in arrays.items() if n.startswith("weights/")}
    arrays = {n: a for n, a in arrays.items() if not n.startswith("weights/")}
    values = dict(values)
    about = values.pop("config", {})
    if weights and made.is_network:
        times = 301
        from dataclasses import asdict
        about = build_regressor(made.kind, (64, times, 9), seed=0, **asdict(made.options)).config
    assert set(values) == {"snr_db", "n_train"}
    assert bool(weights) == bool(about)
    return new, Result({"scores": scores, "history": history}, arrays, values, weights, about)
