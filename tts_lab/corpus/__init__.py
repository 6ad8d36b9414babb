"""Recordings and text in; a folder of clean, cached utterances out. Knows nothing of models or devices."""
