"""How much the evoked response depends on each parameter, one at a time and all together.

Every measure is relative: a parameter is scaled by a factor of its reference value, and changes of
the response are compared with its root mean square over the epoch. A sensitivity of 0.2 says that
1 % of change in the parameter changes the response by 0.2 %.

The last three functions look at the whole prior instead of one reference: Sobol's indices say which
part of the variance of a summary of the response comes from each parameter.
"""

import numpy as np
import pandas as pd
from SALib.analyze import sobol as analyze_sobol
from SALib.sample import sobol as sample_sobol
from scipy.special import ndtri

from jrlib.parameters import CLASSIC, PARAMETER_NAMES, TYPICAL
from jrlib.priors import Prior
from jrlib.simulation.gradients import FACTORS, STEP, gradients, responses, single_theta
from jrlib.simulation.protocol import Protocol, simulate_erp


def rms(response):
    """Root mean square over the last axis (time)."""
    return np.sqrt(np.mean(np.square(response), axis=-1))


def profiles(factors=FACTORS, theta=TYPICAL, convention=CLASSIC, protocol=None, *, step=STEP):
    """What becomes of the evoked response when one parameter at a time is multiplied by a factor.

    factors : (m,); theta : (9,), the reference; step : of a factor, in the central differences
    Returns a DataFrame with a row per parameter and factor, and the columns
    amplitude : maximum - minimum of the response over the epoch, mV
    error : rms(response - reference response) / rms(reference response)
    gradient : rms(d response / d factor) / rms(reference response)
    """
    reference = simulate_erp(single_theta(theta), protocol, convention)
    gradient = gradients(factors, theta, convention, protocol=protocol, step=step)
    response = responses(factors, theta, convention, protocol=protocol)
    columns = {
        "amplitude": np.ptp(response, axis=-1),
        "error": rms(response - reference) / rms(reference),
        "gradient": rms(gradient) / rms(reference),
    }
    return pd.DataFrame(
        {
            "parameter": np.repeat(PARAMETER_NAMES, len(factors)),
            "factor": np.tile(factors, len(PARAMETER_NAMES)),
            **{name: values.ravel() for name, values in columns.items()},
        }
    )


def jacobian(theta=TYPICAL, convention=CLASSIC, protocol=None, *, step=STEP):
    """Derivatives of the response by the logarithm of each parameter, (n_times, 9), no unit.

    Divided by the rms of the response, so that the rms of column k is the relative sensitivity to
    parameter k. In logarithms the derivatives by a_1..a_4 are also those by C a_1..C a_4, and the
    derivative by C is their sum.
    """
    reference = simulate_erp(single_theta(theta), protocol, convention)
    derivatives = gradients([1.0], theta, convention, protocol=protocol, step=step)
    return derivatives[:, 0].T / rms(reference)


def relative_sensitivity(theta=TYPICAL, convention=CLASSIC, protocol=None, *, step=STEP):
    """Local sensitivity to each of the nine parameters, with a check of the step.

    Returns a DataFrame with the columns
    parameter
    sensitivity : rms(d response / d ln parameter) / rms(response)
    step_error : by which fraction it moves when the step is halved
    """
    sensitivity, finer = (
        rms(jacobian(theta, convention, protocol, step=h).T) for h in (step, step / 2.0)
    )
    return pd.DataFrame(
        {
            "parameter": PARAMETER_NAMES,
            "sensitivity": sensitivity,
            "step_error": np.abs(finer / sensitivity - 1.0),
        }
    )


def spectrum(theta=TYPICAL, convention=CLASSIC, protocol=None, *, step=STEP):
    """The directions of relative change, from the most to the least visible in the response.

    Singular values of `jacobian`, falling, over the root of n_times, (9,), and the right singular
    vectors as rows, (9, 9). Along row k, a unit vector of nine logarithmic changes, the response
    changes by value k of its rms per unit. White noise of standard deviation s per sample leaves
    a standard error of s / (rms(response) sqrt(n_times) value k) along it (Cramer-Rao, locally).
    The last direction raises a_1..a_4 and lowers C: exactly invisible, its value is rounding.
    """
    derivative = jacobian(theta, convention, protocol, step=step)
    _, values, directions = np.linalg.svd(derivative, full_matrices=False)
    return values / np.sqrt(len(derivative)), directions


def sobol_indices(function, names, n, *, seed):
    """Sobol's first-order and total indices of a function on the unit cube, by SALib.

    function : from points (m, d), uniform on the unit cube, to a DataFrame of m rows, one column
        for each output
    names : of the d inputs; n : a power of 2; the function is evaluated at n (d + 2) points of a
        scrambled Sobol sequence (Saltelli 2010)
    seed : of the scrambling and of the bootstrap

    Returns a DataFrame with a row per output and input: output, input, first (the part of the
    output's variance that the input explains alone), total (what is left of it when all other
    inputs are known), first_error and total_error (half widths of 95 % bootstrap intervals). A
    constant output has no variance to share: NaN.
    """
    if n < 2 or n != int(n) or int(n) & (int(n) - 1):
        raise ValueError(f"n: got {n}, expected a power of 2")
    names = list(names)
    problem = {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)}
    points = sample_sobol.sample(problem, int(n), calc_second_order=False, seed=seed)
    outputs = function(points)
    n_bad = int(np.sum(~np.isfinite(outputs.to_numpy())))
    if len(outputs) != len(points) or n_bad:
        raise ValueError(
            f"function: returned {len(outputs)} rows with {n_bad} values that are not finite, "
            f"expected {len(points)} rows of finite values"
        )
    columns = {"first": "S1", "first_error": "S1_conf", "total": "ST", "total_error": "ST_conf"}
    frames = []
    for output in outputs:
        values = outputs[output].to_numpy()
        indices = dict.fromkeys(columns.values(), np.nan)
        if np.ptp(values) > 0.0:
            options = {"calc_second_order": False, "seed": seed}
            indices = analyze_sobol.analyze(problem, values, **options)
        shares = {name: indices[key] for name, key in columns.items()}
        frames.append(pd.DataFrame({"output": output, "input": names, **shares}))
    return pd.concat(frames, ignore_index=True)


def summaries(response, times, *, latest=0.3):
    """Numbers that sum up responses (n, n_times) in mV at times (n_times,) in s: a DataFrame.

    amplitude : natural logarithm of the largest deflection, |response|, in mV
    latency : time of the largest deflection up to `latest` s after the pulse, ms. Without the limit
        three responses in a thousand, whose largest wave comes late, make most of its variance.
    rms : natural logarithm of the root mean square over the epoch, in mV
    shape 1, shape 2 : scores on the first principal components of response / rms over these n
    """
    deflection, size, times = np.abs(response), rms(response), np.asarray(times)
    early = np.flatnonzero((times >= 0.0) & (times <= latest))
    shape = response / size[:, np.newaxis]
    shape = shape - shape.mean(axis=0)
    _, components = np.linalg.eigh(shape.T @ shape)  # rising eigenvalues, in columns
    return pd.DataFrame(
        {
            "amplitude": np.log(deflection.max(axis=1)),
            "latency": 1e3 * times[early[deflection[:, early].argmax(axis=1)]],
            "rms": np.log(size),
            "shape 1": shape @ components[:, -1],
            "shape 2": shape @ components[:, -2],
        }
    )


def global_sensitivity(n, seed, convention=CLASSIC, *, prior=None, protocol=None):
    """Sobol's indices of the `summaries` of the evoked response for each of the nine parameters.

    n, seed : see `sobol_indices`; 11 n responses are simulated
    prior : a `Prior`, the distribution of the parameters; the study's truncated one by default
    Returns the DataFrame of `sobol_indices`, with summary and parameter for output and input.
    """
    prior = Prior() if prior is None else prior
    protocol = Protocol() if protocol is None else protocol

    def function(points):
        erp = simulate_erp(prior.from_standard(ndtri(points)), protocol, convention)
        return summaries(erp, protocol.times)

    indices = sobol_indices(function, PARAMETER_NAMES, n, seed=seed)
    return indices.rename(columns={"output": "summary", "input": "parameter"})
