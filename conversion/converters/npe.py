"""Old folder npe -> experiment npe. New value validation_loss: the lowest of the stored history's."""
OLD = "npe"


def convert(config, values, frames, arrays):
    from experiments import npe
    from experiments.runs import Result
    from jrlib.inference.flows import NPESettings

    n = config["n_simulations"]
    new = npe.Config(
        config["convention"],
        config["seed"],
        config["noise_factor"],
        n_simulations=n,
        prior=config["prior"],
        settings=NPESettings(epochs=config["epochs"]),
        n_validation=max(n // 10, 20),
    )
    about = values["config"]
    assert set(values) == {"config", "snr_db"} and set(frames) == {"history"}
    new_values = {"snr_db": values["snr_db"], "validation_loss": float(frames["history"].validation_loss.min())}
    return new, Result({"history": frames["history"]}, {}, new_values, arrays, about)
