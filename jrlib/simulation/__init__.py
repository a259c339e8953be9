"""From parameters to evoked responses: the model's equations, their integration and its regimes."""
