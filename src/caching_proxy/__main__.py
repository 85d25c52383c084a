"""`python -m caching_proxy`: the same as the command `caching-proxy`."""

from caching_proxy.cli.main import main

main()
