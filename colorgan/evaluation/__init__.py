"""How good a colouring is, and how to show it."""
