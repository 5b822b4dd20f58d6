"""Jobs for `ray job submit -- python jobs/NAME.py`."""
