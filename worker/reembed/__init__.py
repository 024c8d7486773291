"""Re-embedding: the fill of a model's collection from what is stored, and the removal of a retired model's remains.

Both are operations. A fill begins where rows of `indexings` are missing, so that it can be stopped at any moment.
"""
