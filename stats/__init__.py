"""Statistics of experiments: arrays in, records out; no input or output, no clock, no randomness."""
