"""Facts, commands and rules of experiments: pure, time and randomness come in as arguments."""
