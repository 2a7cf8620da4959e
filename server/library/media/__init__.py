"""What the content of files shows and tells: thumbnails, facts of scenes, whether a file is there whole."""

from .ends import complete, ending
from .kinds import drawable, kind
from .thumbs import Media, facts_of

__all__ = ["Media", "complete", "drawable", "ending", "facts_of", "kind"]
