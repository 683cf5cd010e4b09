"""Pitcrew's bridges to other packages. Each is imported by its own name, and needs its package."""
