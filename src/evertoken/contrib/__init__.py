"""Ready-made listeners for `on_event=`, each with an extra of its own."""
