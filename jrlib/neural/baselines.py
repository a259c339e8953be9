"""Baselines that take seconds: the prior's mean, ridge regression and a small perceptron."""

import numpy as np
from sklearn import neural_network
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from jrlib.neural.architectures import _shape_and_size


class Baseline:
    """A scikit-learn model from matched-filter output (n, n_times) in mV to targets (n, k)."""

    def fit(self, source, targets):
        self.model.fit(source, targets)
        return self

    def predict(self, source):
        return self.model.predict(source)


class MeanPredictor(Baseline):
    """The mean of the training targets, whatever the response: what can be had for nothing."""

    def __init__(self):
        self.model = DummyRegressor(strategy="mean")


class RidgeRegressor(Baseline):
    """Ridge regression on the principal components of the response.

    The components keep their variances: the weak ones, which hold noise or a few odd responses, are
    then shrunk the most. Each target has its own penalty, that of the smallest leave-one-out error.

    n_components: a number, or the part of the variance that the components are to hold.
    """

    def __init__(self, n_components=1.0 - 1e-10):
        self.model = make_pipeline(
            PCA(n_components, svd_solver="full"),
            RidgeCV(alphas=np.logspace(-8, 10, 37), alpha_per_target=True),
        )


class MLPRegressor(Baseline):
    """A multilayer perceptron on the principal components of the response's shape and size.

    Responses span decades in amplitude. Each is therefore divided by its root mean square, whose
    logarithm is appended; components and targets are scaled to unit variance. A tenth of the
    training set decides when to stop.
    """

    def __init__(self, n_components=12, hidden=(128, 128), seed=0):
        perceptron = neural_network.MLPRegressor(
            hidden_layer_sizes=hidden,
            early_stopping=True,
            n_iter_no_change=30,
            max_iter=1000,
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
