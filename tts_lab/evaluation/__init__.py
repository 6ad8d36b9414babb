"""Ears: word error rate, naturalness, speaker similarity, pitch and pace of wav files."""
