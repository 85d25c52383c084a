"""A small origin to try the proxy with."""
