"""Images that are left out of some work: the first ones with the reason, the others counted."""

from __future__ import annotations

NAMED = 10  # images whose reason is given


class LeftOut:
    """Collects the images that are left out; `count` is how many there are.

    source: where they come from, such as a topic, if the sentences are to name it.
    """

    def __init__(self, source: str = "") -> None:
        self.count = 0
        self._of_source = f" of {source}" if source else ""
        self._named: list[str] = []  # up to NAMED sentences

    def note(self, image: object, reason: object) -> None:
        """Count an image, and keep the reason if it is among the first."""
        self.count += 1
        if len(self._named) < NAMED:
            self._named.append(f"Image {image}{self._of_source} was left out. {reason}")

    def sentences(self) -> list[str]:
        """Return a sentence for each of the first NAMED, and one with the number of the others."""
        others = self.count - len(self._named)
        if not others:
            return list(self._named)
        images, were = ("image", "was") if others == 1 else ("images", "were")
        return [*self._named, f"{others} more {images}{self._of_source} {were} left out."]
