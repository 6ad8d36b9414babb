"""Voices and checkpoints: what a run starts from (adopt, start, inspect), export, speak."""
