"""Amortised posteriors of the study: the same code at small size, with stored weights and ranks."""

import numpy as np
import pandas as pd
import pytest

from experiments import amortised_posteriors, compared_methods, comparison
from experiments.results import Result
from jrlib.diagnostics.calibration import coverage
from jrlib.diagnostics.scoring import pearson
from jrlib.inference.exact_posterior import ExactSampler, SamplerSettings
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, quantities
from jrlib.priors import Prior

CONFIG = {
    "convention": "RELEASED",
    "n_simulations": 1000,
    "seen": 12_000,
    "seed": 3,
    "n_test": 200,
    "n_checked": 100,
    "n_samples": 99,
    "n_exact": 2,
    "n_draws": 400,
    "noise_factors": [1e5, 2e6],
    "keep": True,
}


@pytest.fixture(scope="module")
def result():
    return amortised_posteriors.cell(**CONFIG)


def test_stored_weights_give_the_stored_scores(result):
    test = compared_methods.test_set("RELEASED", CONFIG["n_test"], "standard")
    model = amortised_posteriors.reload(CONFIG, result)
    observed = test.observe(2e6, seed=compared_methods.TEST).astype(float)
    n = CONFIG["n_checked"]
    means = model.mean(observed[:n], 2e6, seed=CONFIG["seed"])
    np.testing.assert_allclose(means, result.arrays["means"][1], rtol=1e-3)
    expected = pearson(quantities(test.theta[:n]), means)
    scores = result.tables["scores"]
    scores = scores[(scores.metric == "pearson") & (scores.noise_factor == 2e6)]
    found = scores.set_index("parameter").value.reindex(QUANTITY_NAMES)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_ranks_and_levels_are_within_their_ranges_and_not_far_from_uniform(result):
    """At high noise the posterior is near the prior, which even a short training finds."""
    n = CONFIG["n_checked"]
    assert result.arrays["ranks"].shape == (2, n, len(QUANTITY_NAMES))
    part = result.arrays["ranks"][-1] / CONFIG["n_samples"]
    assert ((part >= 0) & (part <= 1)).all()
    assert np.abs(part.mean(axis=0) - 0.5).max() < 0.15  # 5 standard errors of a uniform mean
    for name in ("highest_density", "tarp", "efficiency"):
        levels = result.arrays[name]
        assert levels.shape == (2, n)
        assert ((levels > 0) & (levels <= 1)).all()


def test_descents_from_the_network_find_what_descents_from_the_prior_find(result):
    test = compared_methods.test_set("RELEASED", CONFIG["n_test"], "standard")
    observed = test.observe(2e6, seed=compared_methods.TEST)[0]
    reference = ExactSampler(Likelihood.of(test, 2e6))
    found = reference.posterior(observed, 400, np.random.default_rng(0), most=2400)
    assert found.accepted
    # Two means of a thousand effective draws each: four standard errors of the difference.
    gap = np.abs(result.arrays["exact"][1, 0] - found.mean) / Prior().quantity_std
    assert gap.max() < 4 * np.sqrt(2 / 1000)


def test_answers_are_the_exact_posterior_from_fewer_simulations(result):
    """Means of answers and of long references agree within the errors of the answers' draws."""
    n = 4
    options = {"n_simulations": CONFIG["n_simulations"], "seed": 5, "n_draws": 99, "n_told": 1}
    trained = {"RELEASED": (CONFIG, result)}
    found = amortised_posteriors.answers("RELEASED", 2e6, n_answered=n, trained=trained, **options)
    table = found.tables["answers"]
    assert (table.efficiency > 0.2).all()
    assert table.c2st[0] < 0.7  # of 99 and 99 draws, half of them to train: 0.5 +- 0.05 by chance
    assert table.c2st[1:].isna().all()
    test = compared_methods.test_set("RELEASED", CONFIG["n_test"], "standard")
    observed = test.observe(2e6, seed=compared_methods.TEST)
    reference = ExactSampler(Likelihood.of(test, 2e6))
    for row, mean in zip(observed[:2], found.arrays["means"], strict=False):
        exact = reference.posterior(row, 400, np.random.default_rng(0), most=2400)
        assert np.abs((mean - exact.mean) / exact.std).max() < 5 / np.sqrt(0.2 * 99)


def test_where_no_mode_is_near_the_network_answers(result):
    model = amortised_posteriors.reload(CONFIG, result)
    noise = 1e-3 * np.random.default_rng(0).standard_normal(len(model.projection))
    found = model.answer(noise, 1e5, 50, seed=1)
    assert not found.corrected
    assert found.relative_effective_sample_size == 0
    assert found.samples.shape == (50, 9)
    np.testing.assert_allclose(found.weights, 1 / 50)
    assert np.isfinite(found.mean).all()


def test_what_the_weights_say_is_consistent(result):
    """After so short a training few draws count, and what a classifier told of them is left out."""
    table = result.tables["exact"]
    assert table.accepted.all()
    assert table.efficiency.between(1 / amortised_posteriors.N_WEIGHED, 1).all()
    few = table.efficiency * amortised_posteriors.N_WEIGHED < SamplerSettings.min_effective
    assert (table.c2st_refined.isna() == few).all()
    assert table.c2st.between(0.7, 1.0).all()  # far from exact, as the efficiency says


def test_exact_posteriors_are_those_of_the_cell(result):
    known = amortised_posteriors.exact_posteriors([CONFIG], [result])
    assert list(known) == [("RELEASED", 1e5), ("RELEASED", 2e6)]
    table, arrays = known["RELEASED", 2e6]
    assert list(table.number) == [0, 1]
    np.testing.assert_array_equal(arrays["mean"], result.arrays["exact"][1])
    truth = quantities(compared_methods.test_set("RELEASED", CONFIG["n_test"], "standard").theta)
    np.testing.assert_array_equal(arrays["truth"], truth[:2])


def known(best, means):
    """A cell's configuration and result at factors 1 and 2, and a reference, of the same truth."""
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((400, len(QUANTITY_NAMES)))
    noisy = lambda sd: truth + sd * rng.standard_normal(truth.shape)  # noqa: E731
    table = pd.DataFrame({"number": np.arange(400), "accepted": np.arange(400) % 2 == 0})
    gathered = {
        ("CLASSIC", factor): (table, {"truth": truth, "mean": noisy(best)}) for factor in (1.0, 2.0)
    }
    config = {"convention": "CLASSIC", "noise_factors": [1.0, 2.0], "n_checked": 300}
    arrays = {"means": np.array([noisy(sd) for sd in means])}
    return config | {"n_simulations": 100, "seed": 1}, Result(arrays=arrays), gathered


def test_fractions_of_the_ceiling():
    config, found, gathered = known(best=0.5, means=(0.5, 2.0))
    parts = amortised_posteriors.fractions([config], [found], gathered)
    assert sorted(parts.parameter.unique()) == sorted(IDENTIFIABLE_NAMES)
    assert (parts.n == 150).all()  # accepted, and among those that were checked
    mean = parts.groupby("noise_factor").value.mean()
    assert mean[1.0] == pytest.approx(1.0, abs=0.03)
    assert mean[2.0] == pytest.approx(np.sqrt(1.25 / 5.0), abs=0.05)
    assert ((parts.low < parts.value) & (parts.value < parts.high)).all()


def test_quantities_with_a_low_ceiling_are_left_out():
    config, found, gathered = known(best=10.0, means=(10.0, 10.0))
    parts = amortised_posteriors.fractions([config], [found], gathered)
    assert len(parts) == 2 * len(IDENTIFIABLE_NAMES)
    assert amortised_posteriors.telling(parts).empty


def test_how_many_simulations_are_needed():
    """The smallest budget from which on all are enough: a lucky small one does not count."""
    rows = [
        (1.0, 100, 0.99),
        (1.0, 1000, 0.90),
        (1.0, 10_000, 0.98),
        (1.0, 100_000, 0.99),
        (2.0, 100, 0.5),
        (2.0, 1000, 0.9),
    ]
    parts = pd.DataFrame(rows, columns=["noise_factor", "n_simulations", "value"])
    need = amortised_posteriors.needed(parts.assign(convention="CLASSIC"))
    assert need["CLASSIC", 1.0] == 10_000
    assert np.isnan(need["CLASSIC", 2.0])


def test_a_line_leaves_its_band_or_does_not():
    nominal = np.linspace(0.0, 1.0, 11)
    uniform = (np.arange(1000) + 0.5) / 1000
    assert not amortised_posteriors.leaves(coverage(uniform, nominal, 0.999))
    assert amortised_posteriors.leaves(coverage(uniform**2, nominal, 0.999))


def test_the_grid_keeps_the_weights_of_one_training_a_convention():
    for tier in amortised_posteriors.SIZES:
        configs = amortised_posteriors.grid(tier, 2025)
        kept = [config for config in configs if config["keep"]]
        assert [config["convention"] for config in kept] == list(comparison.CONVENTIONS)
        largest = max(config["n_simulations"] for config in configs)
        assert all(config["n_simulations"] == largest for config in kept)
    with pytest.raises(ValueError, match="tier: got 'large'"):
        amortised_posteriors.grid("large", 2025)
