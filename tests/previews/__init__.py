"""Recorded previews, and the program that records them."""
