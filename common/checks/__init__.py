"""Does it still compute what the reference did, and what it did before? Can it run here?"""
