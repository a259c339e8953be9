"""The study's comparison: every method at every noise level, in variants, on more simulations.

A run draws its own training experiments, trains one method on them and estimates the parameters of
test experiments that all runs of a convention share. `grid` holds all of them, and is asked for in
parts: `standard_grid`, `tabulated_grid`, `variant_grid`, `curves_grid` and `longer_grid`.
"""

from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pandas as pd
import torch
from scipy import stats

from experiments.compared_methods import (
    METHODS,
    SCORES,
    VARIANTS,
    CNNBiLSTMOptions,
    EEGTransformerOptions,
    MLPRegressorOptions,
    RidgeRegressorOptions,
    SimulationSettings,
    VanillaLSTMOptions,
    estimate,
    test_set,
    training_set,
)
from experiments.experiment import Experiment, Result, check_tier
from experiments.runs import Found
from experiments.settings import CONVENTIONS, N_TEST, STUDY_NOISE, VALIDATION
from jrlib.diagnostics import scoring
from jrlib.inference import flows
from jrlib.inference.flows import NPESettings
from jrlib.neural.architectures import ARCHITECTURES, build_regressor
from jrlib.neural.baselines import BASELINES
from jrlib.neural.training import TrainingSettings, fit
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, get_convention, quantities
from jrlib.sensors.datasets import TargetScaler

KEEP = ("scores", "estimates", "weights")  # each of them with those before it
HISTORY = ("epoch", "train_loss", "validation_loss")
MEAN = "mean"  # stands for a parameter where a score is a mean over several of them
_FOLLOWS = {"named": False}  # from the method or the variant


@dataclass(frozen=True)
class Config:
    """One method in one setting; `configuration` makes it from names.

    convention, method, variant : names; the latter two of `METHODS` and `VARIANTS`
    seed : of the training's simulations, initial weights, order and noise
    noise_factor : multiplies the covariance of the sensor noise, in training and test
    n_simulations : of which a part trains and a part validates; the rest is left over, as in the
        public code
    n_test : test simulations, the same for all runs of a convention
    n_bootstrap, n_points : of the scores' intervals, and of NPE's posterior means
    keep : the last of `KEEP` that is stored; it makes no other run
    The others follow from the method and the variant. Those of other methods are None.
    """

    convention: str
    method: str
    seed: int
    noise_factor: float = STUDY_NOISE
    n_simulations: int = 1000
    n_test: int = 2000
    variant: str = "standard"
    train_part: float = 0.8
    validation_part: float = 0.1
    n_bootstrap: int = 1000
    n_points: int = 64
    keep: str = field(default="scores", compare=False, metadata=_FOLLOWS)
    training_simulations: SimulationSettings = field(
        default=SimulationSettings(), metadata=_FOLLOWS
    )
    test_simulations: SimulationSettings = field(default=SimulationSettings(), metadata=_FOLLOWS)
    training: TrainingSettings | None = field(default=None, metadata=_FOLLOWS)
    transformer: EEGTransformerOptions | None = field(default=None, metadata=_FOLLOWS)
    lstm: VanillaLSTMOptions | None = field(default=None, metadata=_FOLLOWS)
    cnn_bilstm: CNNBiLSTMOptions | None = field(default=None, metadata=_FOLLOWS)
    npe: NPESettings | None = field(default=None, metadata=_FOLLOWS)
    ridge: RidgeRegressorOptions | None = field(default=None, metadata=_FOLLOWS)
    mlp: MLPRegressorOptions | None = field(default=None, metadata=_FOLLOWS)


# The field that holds the options of a kind of method.
OPTIONS = {
    "EEGTransformer": "transformer",
    "VanillaLSTM": "lstm",
    "CNNBiLSTM": "cnn_bilstm",
    "NPE": "npe",
    "RidgeRegressor": "ridge",
    "MLPRegressor": "mlp",
}


def configuration(
    convention, method, seed, *, variant="standard", epochs=50, npe_epochs=40, **fields
):
    """The `Config` of a method in a variant, with all that follows from these two.

    epochs : of a network, at most; npe_epochs : of NPE; fields : others of `Config`
    Raises ValueError for an unknown convention, method, variant or kind of what is kept.
    """
    _check_choice("method", method, METHODS)
    _check_choice("variant", variant, VARIANTS)
    _check_choice("keep", fields.get("keep", KEEP[0]), KEEP)
    made, varied = METHODS[method], VARIANTS[variant]
    options, training = made.options, made.training
    if made.is_network:
        epochs *= varied.times_epochs
        training = replace(training, epochs=epochs, frozen_noise=varied.frozen_noise)
    if made.kind == "NPE":
        options = replace(options, epochs=npe_epochs, frozen_noise=varied.frozen_noise)
    if options is not None:
        fields[OPTIONS[made.kind]] = options
    return Config(
        convention=get_convention(convention).name,
        method=method,
        seed=seed,
        variant=variant,
        training_simulations=varied.train,
        test_simulations=varied.test,
        training=training,
        **fields,
    )


def run(config):
    """Train one method and let it estimate the test set's parameters.

    Estimates are scored for the nine parameters and the products C a_1..C a_4. These are the
    products of a network's estimates; NPE gives their posterior means, and a baseline is fitted to
    them as well.

    Returns a `Result`: the table "scores" (see `scoring.score`, errors in prior standard
    deviations); the table "history" (epoch, train_loss, validation_loss), empty for a baseline; as
    the configuration has it the array "estimates" (n_test, 13) in physical units and the weights;
    the values "snr_db" and "n_train".
    """
    model, trained = _train(config)
    scored = _score(config, model)
    return Result(
        tables=scored.tables | trained.tables,
        arrays=scored.arrays if config.keep != "scores" else {},
        values=scored.values | trained.values,
        weights=trained.weights if config.keep == "weights" else {},
        about=trained.about if config.keep == "weights" else {},
    )


def _train(config):
    """The trained method of a configuration, and its history and weights as a `Result`."""
    kind = METHODS[config.method].kind
    simulated = training_set(
        config.convention,
        config.n_simulations,
        seed=config.seed,
        variant=config.training_simulations,
    )
    parts = config.train_part, config.validation_part
    train, validation, _ = simulated.split(
        np.random.default_rng([config.seed, VALIDATION]), (*parts, 1.0 - sum(parts))
    )
    options = {} if kind not in OPTIONS else asdict(getattr(config, OPTIONS[kind]))
    of_training = {"noise_factor": config.noise_factor, "seed": config.seed}
    history, weights, about = pd.DataFrame(columns=HISTORY), {}, {}
    if kind in ARCHITECTURES:
        sizes = train.n_channels, train.n_times, train.theta.shape[1]
        model = build_regressor(kind, sizes, seed=config.seed, **options)
        history = fit(
            model, train, validation, settings=config.training, progress=False, **of_training
        )[[*HISTORY]]
        weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        about = model.config
    elif kind == "NPE":
        prior = config.training_simulations.prior
        model = flows.train_npe(train, validation, prior=prior, settings=config.npe, **of_training)
        history = model.history
        weights, about = model.state()
    else:
        source = train.observe(**of_training)
        model = BASELINES[kind](**options).fit(source, quantities(train.theta))
    return model, Result(
        {"history": history}, values={"n_train": len(train)}, weights=weights, about=about
    )


def rescore(config, weights, about):
    """What stored weights give again: scores, estimates and the signal-to-noise ratio."""
    return _score(config, rebuild(weights, about))


def rebuild(weights, about):
    """The trained network or `flows.Posterior` of a run, from what `Found.weights` gives."""
    if "name" not in about:  # which a network has
        return flows.Posterior.from_state(weights, about)
    options = dict(about)
    sizes = [options.pop(name) for name in ("n_channels", "n_times", "n_outputs")]
    network = build_regressor(options.pop("name"), sizes, seed=0, **options)
    network.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    return network.eval()


def _score(config, model):
    """Scores, estimates and signal-to-noise ratio of a trained model, as a `Result`."""
    test = test_set(config.convention, config.n_test, config.test_simulations)
    estimates = estimate(model, test, config.noise_factor, **_estimation(config))
    scores = scoring.score(
        quantities(test.theta),
        estimates,
        QUANTITY_NAMES,
        scale=config.test_simulations.prior.quantity_std,
        n_bootstrap=config.n_bootstrap,
    )
    return Result(
        {"scores": scores.round(6)},
        {"estimates": estimates},
        {"snr_db": test.snr_db(config.noise_factor)},
    )


def _estimation(config):
    """The options of `estimate` that a configuration has."""
    batch = {"batch_size": config.training.evaluation_batch_size} if config.training else {}
    return {"n_points": config.n_points} | batch


NETWORKS = tuple(name for name, method in METHODS.items() if method.is_network)
LSTM = "VanillaLSTM"  # which learns or does not, by chance
OTHERS = tuple(name for name in NETWORKS if name != LSTM)
REGRESSIONS = ("MLP", "Ridge")  # the baselines that have something to learn
# Which methods each variant is computed for, and in which conventions.
VARIED = {
    "frozen": (("EEGTransformer", "VanillaLSTM", "NPE"), CONVENTIONS),
    "untruncated": (("EEGTransformer", "VanillaLSTM", "NPE", "MLP", "Ridge"), CONVENTIONS),
    "1000Hz": (("EEGTransformer", "CNNBiLSTM", "NPE", "MLP", "Ridge"), ("CLASSIC",)),
    "published": (("EEGTransformer", "VanillaLSTM", "NPE"), ("RELEASED",)),
    "published-same": (("EEGTransformer", "VanillaLSTM", "NPE"), ("RELEASED",)),
}
# n_simulations : of a training; n_test : see `Config`
# epochs, npe_epochs : of networks and of NPE, at most
# n_seeds, n_seeds_cheap : trainings of a network, and of a method that takes seconds
# noise_factors : of the standard grid; variants : names of `VARIED` that are computed as well
# most_seen : how many simulations a network of the learning curves sees at most, epoch after epoch.
#     NPE, which takes its epochs, has no such limit.
SIZES = {
    "smoke": {
        "n_simulations": 100,
        "n_test": N_TEST["smoke"],
        "epochs": 2,
        "npe_epochs": 40,
        "n_seeds": 1,
        "n_seeds_cheap": 1,
        "noise_factors": (1.0,),
        "variants": ("published",),
        "most_seen": 400,
    },
    "fast": {
        "n_simulations": 400,
        "n_test": N_TEST["fast"],
        "epochs": 12,
        "npe_epochs": 20,
        "n_seeds": 1,
        "n_seeds_cheap": 2,
        "noise_factors": (1.0, 1e4, 1e6),
        "variants": ("published",),
        "most_seen": 5000,
    },
    "paper": {
        "n_simulations": 1000,
        "n_test": N_TEST["paper"],
        "epochs": 50,
        "npe_epochs": 40,
        "n_seeds": 3,
        "n_seeds_cheap": 5,
        "noise_factors": (0.0, 0.1, 0.5, 1.0, 10.0, 100.0, 1e3, 1e4, 1e6),
        "variants": tuple(VARIED),
        "most_seen": 200_000,
    },
}
# The learning curves: methods, noise factors, and pairs of simulations for a training and trainings
# on so many, which are more than the standard grid has.
CURVES = {
    "smoke": (((*NETWORKS, "NPE", *REGRESSIONS), (1.0,), ((200, 1),)),),
    "fast": (
        ((*NETWORKS, "NPE", *REGRESSIONS), (1.0,), ((1000, 1),)),
        (REGRESSIONS, (1.0,), ((4000, 1),)),
    ),
    "paper": (
        (OTHERS, (1.0,), ((3000, 1), (10_000, 1), (30_000, 1))),
        ((LSTM,), (1.0,), ((3000, 3), (10_000, 1), (30_000, 1))),
        (("NPE",), (1.0, 1e4), ((3000, 1), (10_000, 1), (30_000, 1))),
        (REGRESSIONS, (1.0, 1e4), ((3000, 3), (10_000, 3), (30_000, 3), (100_000, 1))),
    ),
}


def grid(tier, seed):
    """The configurations of all parts: those on as many simulations as the study, then the others.

    The first seed comes before the others.
    """
    configs = standard_grid(tier, seed) + tabulated_grid(tier, seed)
    for variant in SIZES[tier]["variants"]:
        configs += variant_grid(tier, seed, variant)
    configs = sorted(configs, key=lambda config: config.seed)
    return configs + longer_grid(tier, seed) + curves_grid(tier, seed)


def standard_grid(
    tier,
    seed,
    *,
    variant="standard",
    conventions=CONVENTIONS,
    methods=tuple(METHODS),
    noise_factors=None,
):
    """All combinations, the first seed's before others.

    noise_factors : the tier's by default
    Raises ValueError for an unknown tier, variant, convention or method.
    """
    check_tier(tier)
    size, sizes = SIZES[tier], _sizes(tier)
    for method in methods:
        _check_choice("method", method, METHODS)
    return [
        configuration(
            convention,
            method,
            seed + repeat,
            variant=variant,
            noise_factor=float(noise_factor),
            keep=_keep(variant, noise_factor, first=repeat == 0 and convention in CONVENTIONS),
            **sizes,
        )
        for repeat in range(max(size["n_seeds"], size["n_seeds_cheap"]))
        for convention in conventions
        for noise_factor in (size["noise_factors"] if noise_factors is None else noise_factors)
        for method in methods
        if repeat < (size["n_seeds"] if METHODS[method].is_network else size["n_seeds_cheap"])
    ]


def variant_grid(tier, seed, variant):
    """A variant, at one noise level; see `standard_grid`."""
    methods, conventions = VARIED[variant]
    return standard_grid(
        tier,
        seed,
        variant=variant,
        methods=methods,
        conventions=conventions,
        noise_factors=[STUDY_NOISE],
    )


def tabulated_grid(tier, seed):
    """The same in the third convention, TABULATED, at one noise level, for what takes seconds."""
    cheap = [name for name, method in METHODS.items() if not method.is_network]
    return standard_grid(
        tier, seed, conventions=("TABULATED",), methods=cheap, noise_factors=[STUDY_NOISE]
    )


def longer_grid(tier, seed):
    """The vanilla LSTM trained for longer on the standard grid's own simulations.

    It tells what more simulations do from what the longer training does that comes with them; under
    CLASSIC, where the learning curves see this network learn. The others stop early.
    """
    return standard_grid(
        tier,
        seed,
        variant="longer",
        conventions=["CLASSIC"],
        methods=[LSTM],
        noise_factors=[STUDY_NOISE],
    )


def curves_grid(tier, seed):
    """The learning curves `CURVES`, few simulations first."""
    check_tier(tier)
    size = SIZES[tier]
    configs = [
        configuration(
            convention,
            method,
            seed + repeat,
            noise_factor=noise_factor,
            **_sizes(tier)
            | {
                "n_simulations": n_simulations,
                "epochs": max(1, min(size["epochs"], round(size["most_seen"] / n_simulations))),
            },
        )
        for methods, noise_factors, budgets in CURVES[tier]
        for noise_factor in noise_factors
        for method in methods
        for n_simulations, n_trainings in budgets
        for repeat in range(n_trainings)
        for convention in CONVENTIONS
    ]
    return sorted(configs, key=lambda config: config.n_simulations)


def _sizes(tier):
    return {name: SIZES[tier][name] for name in ("n_simulations", "n_test", "epochs", "npe_epochs")}


def _keep(variant, noise_factor, *, first):
    """Weights take megabytes: kept once for every method in the conventions that are compared."""
    if variant.startswith("published"):
        return "estimates"
    standard = variant == "standard" and noise_factor == STUDY_NOISE
    return "weights" if standard and first else "scores"


def _check_choice(name, value, allowed):
    if value not in allowed:
        raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(allowed)}")


def verified_as(config):
    """How `verify` compares a run: closed forms to rounding, what is trained with other seeds."""
    closed = METHODS[config.method].kind in ("RidgeRegressor", "MeanPredictor")
    return "exact" if closed else "retrained"


EXPERIMENT = Experiment(
    "comparison",
    Config,
    run,
    grid,
    tables={
        "scores": SCORES,
        "history": {"epoch": int, "train_loss": float, "validation_loss": float},
    },
    values={"snr_db": float, "n_train": int},
    level=verified_as,
    rescore=rescore,
)


def scores(found):
    """Metrics averaged over the seeds.

    found : `runs.Found` of this experiment, or rows of its table "scores" as a DataFrame
    Returns a DataFrame with a row for each variant, convention, noise factor, method, number of
    simulations, parameter (of `QUANTITY_NAMES`) and metric: value (mean over the seeds), low, high
    (the hull of the seeds' 95 % bootstrap intervals over test simulations, so it covers both
    sources of chance), spread (standard deviation over the seeds), n (test simulations), n_seeds,
    snr_db.
    """
    frame = _rows(found)
    setting = ["variant", "convention", "noise_factor", "method", "n_simulations"]
    grouped = frame.groupby([*setting, "parameter", "metric", "n", "snr_db"], sort=False)
    return grouped.agg(
        value=("value", "mean"),
        low=("low", "min"),
        high=("high", "max"),
        spread=("value", "std"),
        n_seeds=("seed", "nunique"),
    ).reset_index()


def mean_scores(found, over=QUANTITY_NAMES):
    """Metrics averaged over quantities, of each seed, and then over the seeds.

    found : see `scores`; over : some of `QUANTITY_NAMES`, of which those without a value are left
        out
    Returns a DataFrame with a row for each variant, convention, noise factor, method, number of
    simulations and metric: parameter (`MEAN`), value (mean over the seeds), low, high (smallest and
    largest seed), n_seeds, snr_db.
    """
    frame = _rows(found)
    setting = ["variant", "convention", "noise_factor", "method", "n_simulations", "metric"]
    of_seed = frame[frame.parameter.isin(over)].groupby([*setting, "snr_db", "seed"], sort=False)
    of_seed = of_seed.value.mean().reset_index()
    grouped = of_seed.groupby([*setting, "snr_db"], sort=False)
    means = grouped.agg(
        value=("value", "mean"),
        low=("value", "min"),
        high=("value", "max"),
        n_seeds=("seed", "nunique"),
    )
    return means.reset_index().assign(parameter=MEAN)


def averaged(scores, over=IDENTIFIABLE_NAMES):
    """Scores averaged over quantities, and the ends of their intervals as well.

    scores : columns value, low, high, parameter, convention, noise_factor, method and
        n_simulations, such as rows of `scores` of one variant and metric; over : parameters
    Returns a DataFrame without the parameter. Where no quantity has a value there is no row.
    """
    rows = scores[scores.parameter.isin(over)].dropna(subset="value")
    keys = ["convention", "noise_factor", "n_simulations", "method"]
    return rows.groupby(keys, sort=False)[["value", "low", "high"]].mean().reset_index()


def differences(found, other, *, metric="pearson", level=0.95):
    """How much higher a metric is in other runs, seed by seed.

    found, other : see `scores`; runs of the same convention, method, noise factor and seed make a
        pair, others are left out
    Returns a DataFrame with a row for each method and each of `QUANTITY_NAMES`: value (mean over
    the seeds), low, high (smallest and largest seed), n_seeds. Each method's last row has the
    parameter `MEAN`: the mean over the quantities, with Student's t interval over the seeds, which
    is NaN for one seed.
    """
    keys = ["convention", "method", "noise_factor", "seed", "parameter", "metric"]
    paired = _rows(found).merge(_rows(other), on=keys, suffixes=("", "_other"))
    paired = paired[paired.metric == metric]
    paired = paired.assign(difference=paired.value_other - paired.value)
    each = paired.groupby(["method", "parameter"], sort=False).difference
    each = each.agg(value="mean", low="min", high="max", n_seeds="size").reset_index()
    of_seed = paired.groupby(["method", "seed"], sort=False).difference.mean()
    mean = of_seed.groupby("method", sort=False).agg(value="mean", error="sem", n_seeds="size")
    half = stats.t.ppf((1 + level) / 2, mean.n_seeds - 1) * mean.pop("error")
    mean = mean.assign(parameter=MEAN, low=mean.value - half, high=mean.value + half)
    both = pd.concat([each, mean.reset_index()])
    order = {method: i for i, method in enumerate(mean.index)}
    return both.sort_values("method", key=lambda name: name.map(order), kind="stable")


def kept_epochs(found):
    """Of each run with a history: how long it was trained, and which epoch's weights are kept.

    Returns a DataFrame with a row for each run: run, convention, method, seed, epochs (trained),
    kept (the epoch of the lowest validation loss) and validation_loss (that lowest one).
    """
    history = found.table("history")
    by_run = history.groupby("run", sort=False)
    kept = history.loc[by_run.validation_loss.idxmin()].rename(columns={"epoch": "kept"})
    kept = kept.assign(epochs=by_run.size().to_numpy())
    columns = ["run", "convention", "method", "seed", "epochs", "kept", "validation_loss"]
    return kept[columns].reset_index(drop=True)


def mean_predictor_loss(n_simulations, seed, prior):
    """Mean squared error of always answering the mean of the prior, parameters scaled to 0..1."""
    theta = prior.sample(n_simulations, np.random.default_rng(seed))
    return float(TargetScaler.fit(theta).transform(theta).var(axis=0).mean())


def predictions(found, *, noise_factor=None, n_npe=None):
    """Estimates of the test simulations' parameters, made again by the trained methods.

    found : `runs.Found` of this experiment, whose runs hold the array "estimates". Methods are
        rebuilt from their stored weights; without any, they are trained again.
    noise_factor : of the test simulations; that of the training by default
    n_npe : how many of them NPE answers, which takes it long; all by default
    Returns a DataFrame with a row for each run, test simulation and quantity: run, convention,
    method, simulation (from 0), parameter (of `QUANTITY_NAMES`), true, estimate, and stored, which
    is the stored estimate; in physical units.
    """
    parts = []
    for run in found.runs.itertuples():
        config = found.config(run.run)
        stored = found.arrays(run.run)["estimates"]
        model = rebuild(*found.weights(run.run)) if run.weights_sha256 else _train(config)[0]
        test = test_set(config.convention, config.n_test, config.test_simulations)
        factor = config.noise_factor if noise_factor is None else noise_factor
        first = n_npe if isinstance(model, flows.Posterior) else None
        again = estimate(model, test, factor, first=first, **_estimation(config))
        rows = pd.MultiIndex.from_product(
            [range(len(again)), QUANTITY_NAMES], names=["simulation", "parameter"]
        )
        columns = {
            "run": run.run,
            "convention": run.convention,
            "method": run.method,
            "true": quantities(test.theta)[: len(again)].ravel(),
            "estimate": again.ravel(),
            "stored": stored[: len(again)].ravel(),
        }
        parts.append(pd.DataFrame(columns, rows).reset_index())
    return pd.concat(parts, ignore_index=True)


def scores_again(found, predicted):
    """Scores of the estimates that `predictions` made again, beside those that are stored.

    Returns a DataFrame with a row for each run, parameter and metric: run, convention, method,
    parameter, metric, value, stored (NaN unless all test simulations were answered).
    """
    parts = []
    for run, rows in predicted.groupby("run", sort=False):
        truth, again = (
            rows[name].to_numpy().reshape(-1, len(QUANTITY_NAMES)) for name in ("true", "estimate")
        )
        scale = found.config(run).test_simulations.prior.quantity_std
        frame = scoring.score(truth, again, QUANTITY_NAMES, scale=scale, n_bootstrap=1)
        parts.append(frame.drop(columns=["low", "high"]).assign(run=run))
    again = pd.concat(parts)
    stored = found.table("scores")
    keys = ["run", "parameter", "metric", "n"]
    stored = stored[["run", "convention", "method", *keys[1:], "value"]]
    names = stored[["run", "convention", "method"]].drop_duplicates()
    stored = stored.rename(columns={"value": "stored"})[[*keys, "stored"]]
    return names.merge(again, on="run").merge(stored, on=keys, how="left")


def _rows(found):
    """Rows of the table "scores" of a `runs.Found`, or those rows themselves."""
    return found.table("scores") if isinstance(found, Found) else found
