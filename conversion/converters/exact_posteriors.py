from experiments.compared_methods import VARIANTS
from experiments.exact_posteriors import Config
from experiments.runs import Result

OLD = "ceiling"


def convert(config, values, frames, arrays):
    assert not values and set(frames) == {"observations"}
    n_samples = config["n_draws"]
    variant = config.get("variant", "standard")
    made = Config(
        config["convention"], config["noise_factor"], config["first"], config["seed"],
        variant=variant, simulations=VARIANTS[variant].test, n_observations=config["n"],
        n_test=config["n_test"], n_samples=n_samples, most_samples=6 * n_samples,
    )
    frame = frames["observations"].rename(columns={"largest": "largest_weight"})
    arrays = {{"draws": "samples"}.get(name, name): array for name, array in arrays.items()}
    return made, Result({"observations": frame}, arrays)
