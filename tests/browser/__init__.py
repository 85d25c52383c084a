"""What a real browser's user sees through the proxy."""
