"""Which sampler for the reference posterior? Effective draws per simulation: `make samplers`.

jrlib's randomize-then-optimize beside well-kept samplers that take batched likelihoods, on the
same posteriors in the same coordinates: emcee (ensemble moves), nautilus (importance nested
sampling with neural networks) and pocoMC (preconditioned sequential Monte Carlo). Each may simulate
`BUDGET` responses and starts knowing no more than the prior. Where they disagree, Metropolis steps
from their samples say who is right (`jrlib.diagnostics.stationarity`). Prints a table and writes
samplers.md and samplers.csv beside this file.
"""

import os

os.environ |= {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}

import datetime
import importlib.metadata
import warnings
from pathlib import Path

import emcee
import nautilus
import numpy as np
import pandas as pd
import pocomc
from arviz_stats.base import array_stats
from scipy.stats import norm

from bench import markdown
from experiments.compared_methods import test_set
from experiments.settings import TEST
from jrlib.diagnostics import stationarity
from jrlib.inference.exact_posterior import ExactSampler
from jrlib.inference.likelihood import Likelihood

HERE = Path(__file__).parent
BUDGET = 300_000  # simulations
WALKERS = 64
N_STARTS, N_STEPS = 1000, 400  # of Metropolis, from a sampler's draws
SEED = 1
LOWEST, FARTHEST = -1e300, 8.0  # log density of what cannot be, and of points so many prior sd away
CASES = [("CLASSIC", 1e6, 0)]  # at 1e4 nautilus was not done after ten minutes, and was stopped


class Exhausted(Exception):
    """The budget is spent."""


class Density:
    """Log posterior density of points (n, 8), `lowest` where there is none; counts simulations."""

    def __init__(self, reference, observed, budget=np.inf, lowest=LOWEST):
        self.reference, self.observed, self.budget = reference, observed, budget
        self.lowest, self.n = lowest, 0

    def __call__(self, points):
        points = np.atleast_2d(points)
        if self.n + len(points) > self.budget:
            raise Exhausted
        values = np.full(len(points), self.lowest)
        inside = np.abs(points).max(axis=1) < FARTHEST
        self.n += int(inside.sum())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if inside.any():
                values[inside] = self.reference.log_density(points[inside], self.observed)
        return np.nan_to_num(values, nan=self.lowest, neginf=self.lowest)


def moments(points, weights):
    mean = weights @ points
    return mean, np.sqrt(weights @ (points - mean) ** 2)


def stays(reference, observed, points, weights):
    """Change of the mean log density in Metropolis steps from equal draws, and its 95 % error.

    The error takes draws that were chosen twice for one.
    """
    rng = np.random.default_rng(SEED)
    chosen = rng.choice(len(points), 2 * N_STARTS, p=weights)
    starts, others = points[chosen[:N_STARTS]], points[chosen[N_STARTS:]]
    root = np.linalg.cholesky(np.cov(others.T))
    change, _ = stationarity.metropolis(
        reference, observed, starts, root=root, n_steps=N_STEPS, rng=rng
    )
    return change.mean(), 1.96 * change.std() / np.sqrt(len(np.unique(chosen[:N_STARTS])))


def run_rto(reference, observed):
    found = reference.posterior(observed, 1000, np.random.default_rng(SEED), most=3000)
    points = reference.points(found.samples)
    return found.n_simulations, found.effective_sample_size, found.rhat, points, found.weights


def run_emcee(reference, observed):
    """Differential-evolution and stretch moves, from prior draws; the second half of the chains.

    Not emcee's snooker move: up to version 3.1.6 it divides by the root of a distance, and not by
    the distance (its pull request 531), and leaves chains a few per cent too narrow.
    """
    # It would walk among points that are all the lowest, if that were a number.
    density = Density(reference, observed, lowest=-np.inf)
    moves = [(emcee.moves.DEMove(), 0.8), (emcee.moves.StretchMove(), 0.2)]
    sampler = emcee.EnsembleSampler(WALKERS, 8, density, moves=moves, vectorize=True)
    sampler.random_state = np.random.RandomState(SEED).get_state()
    start = np.random.default_rng(SEED).standard_normal((WALKERS, 8))
    sampler.run_mcmc(start, BUDGET // WALKERS - 2)
    chains = sampler.get_chain()[len(sampler.get_chain()) // 2 :].transpose(2, 1, 0)
    ess = min(array_stats.ess(chain, chain_axis=0, draw_axis=1) for chain in chains)
    rhat = max(array_stats.rhat(chain, chain_axis=0, draw_axis=1) for chain in chains)
    points = chains.reshape(8, -1).T
    return density.n, float(ess), float(rhat), points, np.full(len(points), 1.0 / len(points))


def run_nautilus(reference, observed):
    """Without the points from when the bounds were learnt, which would bias the rest."""
    density = Density(reference, observed)
    prior = nautilus.Prior()
    for k in range(8):
        prior.add_parameter(f"x{k}", dist=norm(0.0, 1.0))

    def likelihood(points):
        log_normal = -0.5 * np.sum(points**2, axis=-1)  # which nautilus has in its prior
        return density(points) - log_normal

    sampler = nautilus.Sampler(
        prior, likelihood, n_dim=8, pass_dict=False, vectorized=True, seed=SEED, n_live=1000
    )
    sampler.run(n_like_max=BUDGET, n_eff=1000, discard_exploration=True, verbose=False)
    points, log_weights, _ = sampler.posterior()
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    return density.n, float(1.0 / np.sum(weights**2)), np.nan, points, weights


def run_pocomc(reference, observed):
    density = Density(reference, observed, BUDGET)

    def likelihood(points):
        return density(points) + 0.5 * np.sum(np.atleast_2d(points) ** 2, axis=-1)

    sampler = pocomc.Sampler(
        prior=pocomc.Prior([norm(0.0, 1.0)] * 8),
        likelihood=likelihood,
        vectorize=True,
        random_state=SEED,
    )
    try:
        sampler.run(n_total=1000, progress=False)
    except Exhausted:
        return density.n, 0.0, np.nan, None, None
    points, weights, *_ = sampler.posterior()
    weights /= weights.sum()
    return density.n, float(1.0 / np.sum(weights**2)), np.nan, points, weights


SAMPLERS = {
    "randomize-then-optimize (jrlib)": run_rto,
    "emcee, differential evolution and stretch": run_emcee,
    "nautilus": run_nautilus,
    "pocoMC": run_pocomc,
}


def main():
    rows = []
    for convention, noise_factor, number in CASES:
        test = test_set(convention, 2000, "standard")
        observed = test.observe(noise_factor, seed=TEST)[number]
        reference = ExactSampler(Likelihood.of(test, noise_factor))
        exact = None
        for name, run in SAMPLERS.items():
            n, ess, rhat, *draws = run(reference, observed)
            if ess:
                mean, sd = moments(*draws)
                exact = (mean, sd) if exact is None else exact
                off, wide = np.max(np.abs(mean - exact[0]) / exact[1]), np.median(sd / exact[1])
                found = n / ess, rhat, off, wide, *stays(reference, observed, *draws)
            else:
                found = np.inf, rhat, np.nan, np.nan, np.nan, np.nan
            rows.append((convention, noise_factor, name, n, ess, *found))
            print(rows[-1], flush=True)
            write(rows)


def write(rows):
    """The table so far."""
    columns = ["convention", "noise factor", "sampler", "simulations", "effective draws"]
    columns += ["simulations per draw", "R-hat", "mean off (sd)", "sd over first line's"]
    columns += ["change in steps", "change's error"]
    table = pd.DataFrame(rows, columns=columns)
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("emcee", "nautilus-sampler", "pocomc", "numpy")
    )
    text = [
        "# Samplers for the reference posterior",
        "",
        f"{versions}; {datetime.date.today()}. Made by `make samplers`; do not edit.",
        "",
        f"One observation each, up to {BUDGET:,} simulations, seed {SEED}. Mean off: largest "
        "distance of a posterior mean from that of the first line, in its standard deviations, "
        "over eight coordinates; sd: median ratio to the first line's. Change in steps: of the "
        f"mean log density in {N_STEPS} Metropolis steps from {N_STARTS} draws, with its 95 % "
        "error.",
        "",
        markdown(table),
        "",
    ]
    (HERE / "samplers.md").write_text("\n".join(text))
    table.to_csv(HERE / "samplers.csv", index=False)


if __name__ == "__main__":
    main()
