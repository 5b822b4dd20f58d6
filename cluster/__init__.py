"""Everything that runs on Ray: connecting, planning, the queue, training and `colorgan jobs`."""
