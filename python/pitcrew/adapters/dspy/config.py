"""What a caller of `react_optimized` may say, and the language model."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import dspy


@dataclass
class Config:
    parallel_tools: bool = True
    cache_tool_results: bool = True
    batch_llm_calls: bool = True
    max_iters: int = 20
    max_concurrency: int = 32
    instructions: str | None = None
    lm: str | dict[str, Any] | None = None

    @classmethod
    def of(cls, given: object) -> Config:
        if given is None:
            return cls()
        if not isinstance(given, dict):
            raise TypeError(f"config must be a map, not {given!r}")
        known = {field.name: field.default for field in fields(cls)}
        unknown = [str(key) for key in given if key not in known]
        if unknown:
            raise ValueError(f"config has no {', '.join(unknown)}, only {', '.join(known)}")
        config = cls(**{str(key): value for key, value in given.items()})
        config.check()
        return config

    def check(self) -> None:
        for name in ("parallel_tools", "cache_tool_results", "batch_llm_calls"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"config: {name} must be true or false, not {getattr(self, name)!r}")
        for name in ("max_iters", "max_concurrency"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"config: {name} must be a positive integer, not {value!r}")
        if self.instructions is not None and not isinstance(self.instructions, str):
            raise TypeError(f"config: instructions must be text, not {self.instructions!r}")

    def model(self) -> Any:
        """What `lm` says, else what `dspy.configure` has said."""
        if self.lm is None:
            if dspy.settings.lm is None:
                raise ValueError(
                    "there is no language model: give lm in config, or call dspy.configure(lm=...) in a start hook"
                )
            return dspy.settings.lm
        options = {"model": self.lm} if isinstance(self.lm, str) else self.lm
        if not isinstance(options, dict) or not isinstance(options.get("model"), str):
            raise ValueError("config: lm must be the name of a model, or a map of options of dspy.LM with model")
        return model_of(json.dumps(options, sort_keys=True))


@lru_cache(maxsize=16)
def model_of(options: str) -> Any:
    """Kept, for it keeps connections."""
    return dspy.LM(**json.loads(options))


def inputs_of(given: object, signature: Any) -> Any:
    """One input, or a list of them."""
    if isinstance(given, (list, tuple)):
        return [input_of(one, signature) for one in given]
    return input_of(given, signature)


def input_of(given: object, signature: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise TypeError(f"an input is a map of the signature's fields, not {given!r}")
    inputs = {str(name): value for name, value in given.items()}
    missing = [name for name in signature.input_fields if name not in inputs]
    unknown = [name for name in inputs if name not in signature.input_fields]
    if missing or unknown:
        wrong = [f"lacks {', '.join(missing)}"] if missing else []
        wrong += [f"has {', '.join(unknown)}, which the signature has not"] if unknown else []
        raise ValueError(f"an input {' and '.join(wrong)}")
    return inputs
