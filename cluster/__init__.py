"""Connecting to Ray, and planning what runs where."""
