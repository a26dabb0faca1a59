"""Packing: token lists -> rows of one length on disk, and the order in which they are trained."""
