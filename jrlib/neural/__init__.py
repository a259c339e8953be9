"""Networks of torch and simple baselines that estimate parameters, and how they are trained."""
