"""Old folder why-readout -> experiment readout."""
OLD = "why-readout"


def convert(config, values, frames, arrays):
    from dataclasses import replace

    from experiments import readout
    from experiments.runs import Result

    new = readout.Config(
        config["convention"],
        config["until"],
        config["seed"],
        config["noise_factor"],
        n_simulations=config["n_simulations"],
        n_test=config["n_test"],
        training=replace(readout.LSTM.training, epochs=config["epochs"]),
    )
    assert not values and not arrays and set(frames) == {"scores", "gradient"}
    return new, Result(frames)
