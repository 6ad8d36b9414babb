"""Piper's VITS with static shapes: same parameters and state-dict keys, forward passes a compiler can hold."""

import warnings

# Piper builds on the older weight norm, and its state-dict keys are why it has to stay.
warnings.filterwarnings("ignore", message=".*weight_norm. is deprecated.*", category=FutureWarning)
