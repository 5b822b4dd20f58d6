"""Colouring many photographs: from a folder, a list or a bucket to a tree with the same names."""
