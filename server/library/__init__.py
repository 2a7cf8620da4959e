"""The library wing: what the files mean to a studio."""
