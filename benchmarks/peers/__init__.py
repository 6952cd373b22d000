"""What users would pick instead, each behind the `Peer` protocol."""
