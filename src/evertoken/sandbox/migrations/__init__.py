"""How the sandbox's tables came to be, so that a kept database can follow a new version."""
