"""Brings docstrings into Markdown for the page of the API: arguments as lists, examples as code."""

from __future__ import annotations

import re
from typing import Any

import griffe

START = re.compile(r"(?=^>>> )", re.MULTILINE)
EXAMPLE = re.compile(r"(?:^[ ]*>>> .*\n(?:(?![ ]*$).*\n?)*)+", re.MULTILINE)
HEADING = re.compile(r"^(\S.*)\n(?= {4}[a-z]\w*(?:, [a-z]\w*)*: )", re.MULTILINE)
ARGUMENT = re.compile(r"^ *([a-z]\w*(?:, [a-z]\w*)*): (?=\S)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites each docstring after it was read.

    A run of lines from `>>>` to an empty line becomes a block of code. A line that begins with the
    names of arguments and a colon becomes an item of a list, the line before the first its heading.
    """

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the docstring of one class or function."""
        if obj.docstring is not None:
            text, *example = START.split(obj.docstring.value + "\n", maxsplit=1)
            text = HEADING.sub(r"\n**\1**\n", text)
            text = ARGUMENT.sub(r"\n- `\1`: ", text)
            obj.docstring.value = text + EXAMPLE.sub(r"```python\n\g<0>```\n", "".join(example))
