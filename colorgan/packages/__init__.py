"""Model packages: trained networks as files that are safe to load, and embedded ones."""
