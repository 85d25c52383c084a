"""The one exception of the benchmark."""


class BenchError(Exception):
    """The benchmark cannot go on; the text is one line that says why."""
