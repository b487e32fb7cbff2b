"""Where samples go; `registry` knows the types."""
