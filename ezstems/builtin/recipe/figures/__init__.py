"""How well a model separates: held-back clips, and real songs."""
