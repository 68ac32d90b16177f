"""What made the bundled model: songs, nets, and the figures that judge it."""
