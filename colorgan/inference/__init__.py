"""Colouring photographs with trained networks: one generator, or several behind a router."""
