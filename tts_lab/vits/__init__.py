"""Piper's VITS with static shapes: same parameters and state-dict keys, forward passes a compiler can hold."""
