"""The nets that learn from the songs, and their way into Spleeter's checkpoints."""
