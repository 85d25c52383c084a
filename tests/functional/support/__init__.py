"""The harness of the functional tests: a proxy process, origins, raw clients."""
