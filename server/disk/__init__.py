"""The disk wing: files as truth. Knows nothing of assets or farms."""
