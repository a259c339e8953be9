"""Old folder fitting -> experiment least_squares_fits."""
OLD = "fitting"


def convert(config, values, frames, arrays):
    from experiments import least_squares_fits
    from experiments.runs import Result

    new = least_squares_fits.Config(
        config["convention"], config["seed"], config["noise_factor"], n_fits=config["n_fits"]
    )
    assert not values and not arrays and set(frames) == {"fits", "scores"}
    return new, Result(frames)
