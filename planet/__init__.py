"""PlaNet: plans in a learned latent space."""
