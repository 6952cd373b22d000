"""The auth of HTTP clients other than `requests`. Each module needs the extra of its name."""
