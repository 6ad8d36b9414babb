"""Training: the adversarial step, its data, checkpoints and the run folder."""
