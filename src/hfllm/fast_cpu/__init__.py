"""What only makes a CPU faster: each has one switch, each equals the plain way in a test."""
