"""Dreamer: behaviours learned in imagined latent rollouts."""
