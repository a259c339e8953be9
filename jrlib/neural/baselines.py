"""Baselines that take seconds: the prior's mean, ridge regression and a small perceptron.

One source drives all electrodes, so all that the sensors know about the parameters is in one
waveform, the spatial filter's output. The baselines regress on it directly; a network that reads
the sensors and does worse has lost something on the way.
"""

import numpy as np
from sklearn import neural_network
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler


class Baseline:
    """A scikit-learn model from a source's waveforms (n, n_times), mV, to targets (n, k)."""

    def fit(self, source, targets):
        """Fit to waveforms (n, n_times), mV, and targets (n, k); returns the baseline itself."""
        self.model.fit(source, targets)
        return self

    def predict(self, source):
        """Estimates (n, k) of the targets from waveforms (n, n_times), mV."""
        return self.model.predict(source)


class MeanPredictor(Baseline):
    """The mean of the training targets, whatever the response: what can be had for nothing."""

    def __init__(self):
        self.model = DummyRegressor(strategy="mean")


class RidgeRegressor(Baseline):
    """Ridge regression on the principal components of the response.

    The components keep their variances: the weak ones, which hold noise or a few odd responses, are
    then shrunk the most. Each target has its own penalty, that of the smallest leave-one-out error.

    n_components : a number, or the part of the variance that the components are to hold
    lowest_log_alpha, highest_log_alpha, n_alphas : the penalties that are tried, evenly spaced in
        their decadic logarithm
    """

    def __init__(
        self,
        n_components=1.0 - 1e-10,
        *,
        lowest_log_alpha=-8.0,
        highest_log_alpha=10.0,
        n_alphas=37,
    ):
        alphas = np.logspace(lowest_log_alpha, highest_log_alpha, n_alphas)
        self.model = make_pipeline(
            PCA(n_components, svd_solver="full"), RidgeCV(alphas=alphas, alpha_per_target=True)
        )


class MLPRegressor(Baseline):
    """A multilayer perceptron on the principal components of the response's shape and size.

    Responses span decades in amplitude. Each is therefore divided by its root mean square, whose
    logarithm is appended; components and targets are scaled to unit variance.

    n_components : of the shape and size
    width, n_layers : of the hidden layers, all alike
    learning_rate, weight_decay : Adam's, and the penalty of the squared weights
    validation_fraction : part of the training set that decides when to stop
    patience, epochs : stop after so many epochs without a better score there, and at the latest
        after so many in all
    seed : of the initial weights, the order of the rows and the part held out
    """

    def __init__(
        self,
        n_components=12,
        *,
        width=128,
        n_layers=2,
        learning_rate=1e-3,
        weight_decay=1e-4,
        validation_fraction=0.1,
        patience=30,
        epochs=1000,
        seed=0,
    ):
        perceptron = neural_network.MLPRegressor(
            hidden_layer_sizes=(width,) * n_layers,
            learning_rate_init=learning_rate,
            alpha=weight_decay,
            early_stopping=True,
            validation_fraction=validation_fraction,
            n_iter_no_change=patience,
            max_iter=epochs,
            random_state=seed,
        )
        self.model = TransformedTargetRegressor(
            make_pipeline(
                FunctionTransformer(_shape_and_size),
                PCA(n_components, whiten=True, svd_solver="full"),
                perceptron,
            ),
            transformer=StandardScaler(),
        )


BASELINES = {
    baseline.__name__: baseline for baseline in (MeanPredictor, RidgeRegressor, MLPRegressor)
}


def _shape_and_size(source):
    size = np.sqrt(np.mean(np.square(source), axis=1, keepdims=True))  # (n, 1)
    return np.hstack([source / size, np.log(size)])  # (n, n_times + 1)
