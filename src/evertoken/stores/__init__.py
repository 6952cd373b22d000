"""Stores that share the token of an identity: memory, files, Redis."""
