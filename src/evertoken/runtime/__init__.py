"""The host process: its clocks, its threads, its forks, its end."""
