"""What the content of files shows and tells: thumbnails, facts of scenes, whether a file is there whole."""

from .ends import complete
from .kinds import drawable, kind
from .thumbs import Media, facts_of

__all__ = ["Media", "complete", "drawable", "facts_of", "kind"]
