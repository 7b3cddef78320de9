"""The image manager: pull, load, import, names and garbage."""
