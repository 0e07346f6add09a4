"""How the objects of the library look at a prompt and in a notebook."""

from __future__ import annotations

from html import escape

__all__ = ["Shown"]


class Shown:
    """What a notebook and a prompt show of an object: its facts, one a line."""

    def _facts(self) -> dict[str, str]:
        raise AssertionError("every class has its own")  # pragma: no cover

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}: {value}' for name, value in self._facts().items())})"

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in self._facts().items())
        return f"<table><caption>{type(self).__name__}</caption><tbody>{rows}</tbody></table>"
