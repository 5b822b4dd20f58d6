"""The 2018 report's questions, asked again: what is run, what came of it, and the page of both."""
