"""Tests over real sockets against real processes."""
