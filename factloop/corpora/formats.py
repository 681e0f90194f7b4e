"""Every format that can be read, by the name that `data/sources.yaml` gives it."""

from .published import PUBLISHED
from .readers import READERS, Format

FORMATS: dict[str, Format] = READERS | PUBLISHED
