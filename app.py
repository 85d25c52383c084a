"""`python app.py start|stats|clear-cache`: the command `caching-proxy` from a clone."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from caching_proxy.cli.main import main

if __name__ == "__main__":
    main()
