"""What explains the comparison: loops and firing rates, known products, and electrodes as tokens.

These computations take seconds, so that nothing of them is stored.
"""

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from jrlib import priors
from jrlib.diagnostics import scoring
from jrlib.diagnostics.sensitivity import rms
from jrlib.parameters import CLASSIC, PARAMETER_NAMES, RELEASED, Convention, identifiable
from jrlib.simulation.equations import sigmoid
from jrlib.simulation.integration import simulate
from jrlib.simulation.protocol import simulate_erp

POPULATIONS = ("pyramidal", "excitatory", "inhibitory")
FACTORS = PARAMETER_NAMES[4:]  # a_1..a_4 and C, the factors of the products
ONE_CONSTANT_CHANGED = (  # RELEASED with one constant of CLASSIC
    Convention("RELEASED, slope per mV", RELEASED.v_max, RELEASED.v_0, CLASSIC.r),
    Convention("RELEASED, $v_{max}$ 5 /s", CLASSIC.v_max, RELEASED.v_0, RELEASED.r),
)


def firing_rates(theta, convention, protocol, *, every=4, n_points=300):
    """Where the potentials of simulated trials lie on the sigmoid of a convention.

    theta : (n, 9); protocol : a `Protocol`, whose whole train of pulses is simulated
    every : how many steps lie between the potentials that count
    n_points : of the sigmoid on either side of 0 mV, up to the outermost potential
    Returns a DataFrame and a number. The DataFrame has the columns series, "potential (mV)",
    "firing rate (1/s)", "5 % (mV)" and "95 % (mV)": of the series "sigmoid" the first two numbers,
    of each of `POPULATIONS` the percentiles of its potentials over time and theta. The number is
    the largest change of the firing rate, 1/s, of any population within one simulation.
    """
    states = simulate(theta, protocol.drive, convention=convention, states=True, save_every=every)
    y0, y1, y2 = np.moveaxis(states[..., :3], -1, 0)
    products = identifiable(theta)[:, 4:, np.newaxis]
    potentials = np.stack([y1 - y2, products[:, 0] * y0, products[:, 2] * y0])
    lowest, highest = max(-potentials.min(), 1.0), potentials.max()
    v = [-np.geomspace(lowest, 0.1, n_points), np.geomspace(0.1, highest, n_points)]
    v = np.concatenate(v)
    curve = {"potential (mV)": v, "firing rate (1/s)": sigmoid(v, convention)}
    low, high = np.percentile(potentials, [5, 95], axis=(1, 2))
    visited = {"series": POPULATIONS, "5 % (mV)": low, "95 % (mV)": high}
    frame = pd.concat([pd.DataFrame({"series": "sigmoid"} | curve), pd.DataFrame(visited)])
    return frame, np.ptp(sigmoid(potentials, convention), axis=2).max()


def contribution_of_loops(theta, convention):
    """What the loops contribute to the evoked responses of theta (n, 9): (n,) numbers.

    The rms difference between the response and that of the same model without loops, for which C is
    0, relative to the rms of the response.
    """
    without = theta * np.where(np.array(PARAMETER_NAMES) == "C", 0.0, 1.0)
    response = simulate_erp(theta, convention=convention)
    return rms(response - simulate_erp(without, convention=convention)) / rms(response)


def known_products(prior, n, *, seed, degree=4, penalty=1e-3):
    """What can be said of a_1..a_4 and C by somebody who knows the four products exactly.

    prior : a `Prior`; n : samples of it, of which the first half is learnt from; seed : of them
    degree, penalty : of a polynomial ridge regression from the logarithms of the products
    Returns two DataFrames of the other half: one with a row for each sample and parameter:
    parameter, truth and ideal, the prior's mean given the products; and one with a row for each
    parameter: parameter, and the correlations of the truth with the ideal and with what is learned
    by the regression.
    """
    samples = prior.sample(n, np.random.default_rng(seed))
    products, targets = identifiable(samples)[:, 4:], samples[:, 4:]
    seen, unseen = slice(0, n // 2), slice(n // 2, n)
    truth, ideal = targets[unseen], priors.conditional_means(products[unseen], prior)
    regression = make_pipeline(StandardScaler(), PolynomialFeatures(degree), Ridge(penalty))
    regression.fit(np.log(products[seen]), targets[seen])
    learned = regression.predict(np.log(products[unseen]))
    columns = {"parameter": np.tile(FACTORS, len(truth))}
    points = pd.DataFrame(columns | {"truth": truth.ravel(), "ideal": ideal.ravel()})
    correlations = {
        "ideal": scoring.pearson(truth, ideal),
        "learned": scoring.pearson(truth, learned),
    }
    return points, pd.DataFrame({"parameter": FACTORS} | correlations)


def share_of_one_waveform(matrices):
    """What fraction of the sum of squares of its rows a single waveform explains: (n,) numbers.

    matrices : (n, rows, times), torch. The first squared singular value of each over their sum.
    """
    values = torch.linalg.svdvals(matrices.double()).numpy()
    return values[:, 0] ** 2 / (values**2).sum(axis=1)


def tokens(transformer, dataset, noise_factors, *, n=100, seed):
    """How much one waveform explains of the tokens of an EEGTransformer that takes electrodes.

    dataset : of which the first n simulations count; seed : of their noise
    Returns a DataFrame with a row for each noise factor: "noise factor", "SNR (dB)", and medians
    over the simulations of `share_of_one_waveform`: of the tokens, and "after the projection" by
    the trained network's first layer.
    """
    rows, table = np.arange(min(n, len(dataset))), []
    for factor in noise_factors:
        x = dataset.sensors(rows, factor, torch.Generator().manual_seed(seed))
        with torch.no_grad():
            reads = (x / transformer.input_scale).float() @ transformer.project.weight.T
        shares = [np.median(share_of_one_waveform(matrices)) for matrices in (x, reads)]
        table.append([factor, dataset.snr_db(factor), *shares])
    return pd.DataFrame(
        table, columns=["noise factor", "SNR (dB)", "tokens", "after the projection"]
    )


def n_components(responses, share):
    """How many principal components of responses (n, n_times) hold this share of the variance."""
    centred = (responses - responses.mean(axis=0)).astype(float)
    variances = np.linalg.svd(centred, compute_uv=False) ** 2
    return int(np.searchsorted(np.cumsum(variances) / variances.sum(), share) + 1)
