"""The small bundled model, one folder a number of stems, and the recipe that made it.

The server reads the folders' files only. `recipe/` is what made them; it needs the packages of `ezstems[train]`, which
nothing else of `ezstems` imports. MODEL.md says what came out.
"""
