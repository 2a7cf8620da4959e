"""What the content of files shows and tells: thumbnails, facts of scenes, whether a file is there whole."""
