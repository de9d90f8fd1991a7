"""Many runs: training grids of them, and reporting on what they left."""
