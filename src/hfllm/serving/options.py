"""What the user of `hfllm serve` sets. Light: read before torch is imported."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hfllm.serving.limits import Limits


@dataclass(frozen=True)
class Options:
    """The verb's options; see `hfllm serve --help`."""

    limits: Limits
    host: str = "127.0.0.1"
    port: int = 8000
    name: str | None = None
    temperature: float = 1.0
    api_key_file: Path | None = None
    api_key_env: str | None = None
    grace: float = 30.0

    def check(self) -> None:
        """Raise a ValueError of one line where an option cannot be."""
        if self.port > 65535:
            raise ValueError(f"--port: {self.port} is too large; ports end at 65535")
        if self.temperature > 2:
            raise ValueError(f"--temperature: {self.temperature:g} is too large; the API ends at 2")
        self.read_key()

    def read_key(self) -> str | None:
        """The API key; None where none is asked for.

        Raises:
            ValueError: the file or the variable is missing or empty. The messages name neither the
                key nor what may be one.
        """
        if self.api_key_file is not None and self.api_key_env is not None:
            raise ValueError("--api-key-file and --api-key-env: give one of them")
        if self.api_key_env is not None:
            key = os.environ.get(self.api_key_env, "").strip()
            if not key:
                raise ValueError(
                    "--api-key-env: the environment has no variable of that name, or it is empty; "
                    "name the variable, not the key"
                )
            return key
        if self.api_key_file is None:
            return None
        try:
            key = self.api_key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError, ValueError):
            raise ValueError(
                "--api-key-file: no such file, or it cannot be read; name a text file that holds "
                "the key"
            ) from None
        if not key:
            raise ValueError("--api-key-file: the file is empty; write the key into it")
        return key
