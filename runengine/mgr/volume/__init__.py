"""Volumes, and which containers mount them."""
