"""Plan2Explore: explores by expected disagreement, then solves tasks zero-shot or few-shot."""
