"""The audit: rows ↔ objects ↔ vectors ↔ model, in bounded memory, and what can be done about each mismatch.

Three walks, each in the order of a key: the rows by hash (`images`), the objects by key (`objects`), the points of each
collection by id (`points`). What a walk suspects is looked at a second time before it is reported or mended.
"""
