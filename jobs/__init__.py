"""The jobs for `ray job submit -- python jobs/NAME.py`."""
