"""One tile's magnitudes in, one mask a stem out: the U-Nets, the engines that run them, and which are loaded."""
