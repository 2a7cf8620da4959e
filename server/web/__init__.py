"""The web wing: HTTP. Parses, asks the wings below, answers."""
