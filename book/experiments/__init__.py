"""The computations of this paper, one module each, and the store of their results.

Each module in `NAMES` has a frozen `Config`, which holds every number that changes the result, a
function `run` that computes one configuration, a `grid` of configurations for each tier, and an
`EXPERIMENT` that says how they belong together: see `experiments.experiment`, and
`experiments.runs` for the store.
"""

NAMES = (
    "comparison",
    "npe",
    "readout",
    "exact_posteriors",
    "posterior_stationarity",
    "amortised_posteriors",
    "corrected_answers",
    "local_calibration",
    "flow_alternatives",
    "least_squares_fits",
    "stimulus_designs",
    "confirmed_designs",
    "wrong_assumptions",
    "intrinsic_noise",
    "unknown_gain_exact",
    "unknown_gain_networks",
    "local_information",
    "profile_likelihoods",
    "global_sensitivity",
)
