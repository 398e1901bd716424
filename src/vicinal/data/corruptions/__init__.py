"""The six corruptions of section 7.5: made here from seeds, or read from published files."""
