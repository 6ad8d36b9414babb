"""Training: the adversarial step, its data and the run folder."""
