"""Pixels, heat maps and figures as pictures."""
