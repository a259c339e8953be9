"""How good an answer is, whether it can be trusted, and which experiment would tell more."""
