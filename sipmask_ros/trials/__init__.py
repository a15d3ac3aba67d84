"""Programs that watch the node from outside: demo, benchmark, soak."""
