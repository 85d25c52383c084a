"""caching-proxy: an HTTP caching reverse proxy."""

__version__ = "0.1.0"
