"""Where the token of an identity is shared."""
