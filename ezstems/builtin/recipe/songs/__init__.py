"""Synthesised songs whose every stem is known: played, sung and mixed."""
