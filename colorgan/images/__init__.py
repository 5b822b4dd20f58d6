"""Photographs as arrays: decoding, checking, encoding and colour spaces."""
