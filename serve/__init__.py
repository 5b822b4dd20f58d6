"""The HTTP application: the router and the generators behind one API, on Ray Serve."""
