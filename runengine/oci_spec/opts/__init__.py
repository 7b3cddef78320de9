"""One module per part of the runtime spec; each holds small pure functions."""
