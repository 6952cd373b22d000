"""Measures evertoken beside what users would pick instead."""
