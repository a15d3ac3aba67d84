"""What Google Drive answers with in place of a file: pages of HTML, often with status 200."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

MOST_BYTES = 1 << 20  # of a page that is read
_QUOTA = ("quota exceeded", "too many users", "quota for this file")
_SIGN_IN = ("accounts.google.com", "servicelogin", "need access", "you need permission")


class _Page(HTMLParser):
    """Collects the title, the text, the links, and the forms with their hidden fields."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.title = ""
        self.links: list[str] = []
        self.forms: list[tuple[str, dict[str, str]]] = []
        self._in_title = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._in_title = tag == "title"
        if tag == "form":
            self.forms.append((given.get("action", ""), {}))
        elif tag == "input" and self.forms and given.get("name"):
            self.forms[-1][1][given["name"]] = given.get("value", "")
        elif tag == "a" and given.get("href"):
            self.links.append(given["href"])

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
            self._in_title = False


def confirmation(page: str, url: str) -> str | None:
    """Return the address behind the button "download anyway" of a page at `url`, if it has one.

    Drive shows it for files that are too large for its virus scan: a form with the field `confirm`
    or, in older pages, a link with that parameter. Only http and https addresses count.
    """
    found = _Page(page)
    targets = [
        f"{action.partition('?')[0]}?{urlencode(fields)}"
        for action, fields in found.forms
        if "confirm" in fields
    ]
    targets += [link for link in found.links if "confirm" in parse_qs(urlsplit(link).query)]
    for target in targets:
        absolute = urljoin(url, target)
        if urlsplit(absolute).scheme in ("http", "https"):
            return absolute
    return None


def reason(page: str) -> str:
    """Say in a few words why a page refuses the file; "" if it is not known to."""
    words = page.lower()
    if any(saying in words for saying in _QUOTA):
        return "too many people have downloaded the file of late, try again tomorrow"
    if any(saying in words for saying in _SIGN_IN):
        return "the file is not open to everybody any more"
    return ""


def refusal(page: str) -> str:
    """Say in a few words what a page without a file says."""
    if why := reason(page):
        return why
    title = " ".join(_Page(page).title.split())[:80]
    return f"the answer is a page, {title!r}, and no file" if title else "the answer is a page"
