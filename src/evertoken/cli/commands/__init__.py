"""The commands, one module for those that belong together; each is loaded when it is named."""
