"""The nodes, one file each, and what they draw."""
