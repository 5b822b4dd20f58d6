"""Photographs as arrays: decoding and checking them, and their colour spaces."""
