"""What the experiments of this paper have in common: tiers, seeds, conventions and noise levels."""

SEED = 2025  # the first one, also of the book's chapters
CONVENTIONS = ("RELEASED", "CLASSIC")  # those that are compared throughout
STUDY_NOISE = 1.0  # noise factor of the published numbers
EEG_NOISE = 1e4  # noise factor at which a raw sample has the 20 microvolts of real EEG
# Streams of random numbers within a seed.
TRAIN, VALIDATION, TEST = range(3)
# Test simulations by tier, the same ones for all that is compared.
N_TEST = {"smoke": 40, "fast": 500, "paper": 2000}
