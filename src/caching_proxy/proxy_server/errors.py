"""What keeps a proxy from starting."""


class ListenError(Exception):
    """A listening socket cannot be had; the message is one line with cause and cure."""
