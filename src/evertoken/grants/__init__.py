"""Ways to ask a token endpoint for a token."""
