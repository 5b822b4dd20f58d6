"""The commands of `colorgan`: a module for each thing that they are about."""
