"""From evoked responses to parameters: likelihood, exact posteriors and trained flows."""
