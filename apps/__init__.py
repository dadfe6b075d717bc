"""The pages: one folder each, with its layout and its reads."""
