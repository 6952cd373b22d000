"""The host process: its clocks, threads, forks and exit."""
