from typing import Any

settings: dict[str, Any]
