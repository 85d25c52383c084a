"""Stored responses: what may be stored and reused, and where it is kept."""
