"""Leaves out links from docs/ to other folders, whose files the site has not."""

from __future__ import annotations

import re
from typing import Any

LEADING_OUT = re.compile(r"\[([^\]]*)\]\(\.\./[^)\s]*\)")


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Return a page's Markdown with such links as their text alone."""
    return LEADING_OUT.sub(r"\1", markdown)
