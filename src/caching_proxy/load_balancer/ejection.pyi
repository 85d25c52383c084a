from typing import Any

class Ejection:
    def __init__(self, settings: Any) -> None: ...
