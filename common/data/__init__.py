"""Episodes: collecting, storing, counting and drawing batches from them."""
