"""The networks' weights: which are on disk and whole, TensorFlow's checkpoint format, and where to get them."""
